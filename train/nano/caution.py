"""How likely it must be that nothing was found, for a defender to say so.

A greedy reply begins with `so=nothing` where that is a little likelier than any rule by itself, and a finding that is missed costs more than one that is
looked at in vain. So the export plays each incident of `val` and `val_family` that it finds nothing in once more with the likeliest rule instead, and keeps the
bound with the best mean reward: of the known families and of the others, half each. Test sets have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BOUNDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)  # of a likelihood
NEVER = 2.0  # a bound that no likelihood reaches


class Choice(NamedTuple):
    """What an incident earns either way: as the model replies, and with the likeliest rule where it finds nothing.

    `nothing` is how likely it held that, from 0 to 1; None where it found something, and then both rewards are alike.
    """

    nothing: float | None
    reward: float
    reward_else: float


def is_doubted(choice: Choice, bound: float) -> bool:
    """Tell whether the likeliest rule begins the reply in place of "nothing"."""
    return choice.nothing is not None and choice.nothing < bound


def reward_at(choices: Sequence[Choice], bound: float) -> float:
    """Return the mean reward of some incidents under a bound; there must be one."""
    rewards = [choice.reward_else if is_doubted(choice, bound) else choice.reward for choice in choices]
    return sum(rewards) / len(rewards)


def choose_bound(sets: Sequence[Sequence[Choice]]) -> float:
    """Return the lowest bound with the best mean of the sets' mean rewards; each has incidents."""
    return max(BOUNDS, key=lambda bound: (sum(reward_at(choices, bound) for choices in sets), -bound))
