"""One contract for every way of playing: in process, over HTTP, over WebSocket. A player is `reset(**options)` and `step(action)`.

Both return plain data in the wire's form: {"observation", "reward", "done"}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from openenv.core.env_server.serialization import serialize_observation

from env import OpenSOCEnv
from verifier import judge_observation

Reply = dict[str, Any]


class InProcess:
    """The environment itself, in the wire's form."""

    def __init__(self, **options: Any) -> None:
        self.env = OpenSOCEnv(**options)

    def reset(self, **options: Any) -> Reply:
        return serialize_observation(self.env.reset(**options))

    def step(self, action: dict[str, Any]) -> Reply:
        return serialize_observation(self.env.step(action))


def right_answer(observation: dict[str, Any]) -> dict[str, Any]:
    """The oracle's action, from what is seen."""
    truth = judge_observation(observation)
    return {
        "submit_triage": {
            "action": truth.action,
            "cited_log_id": truth.evidence_log_ids[0],
            "rationale": "by the playbook",
        }
    }


def play_defender_only(
    reset: Callable[..., Reply], step: Callable[[dict[str, Any]], Reply], task: str, seed: int
) -> tuple[Reply, Reply]:
    """Play an episode with the right answer and check the shape of everything on the way."""
    first = reset(task=task, mode="defender_only", seed=seed)
    seen = first["observation"]
    assert (first["reward"], first["done"], seen["role"], seen["turn"], seen["grade"]) == (
        None,
        False,
        "defender",
        0,
        None,
    )
    assert seen["alert"]["log_id"] in {line["log_id"] for line in seen["log_window"]}
    last = step(right_answer(seen))
    assert last["done"] is True
    assert math.isfinite(last["reward"])
    assert last["reward"] == 1.1
    closing = last["observation"]
    assert (closing["role"], closing["turn"], closing["episode_id"]) == ("none", 1, seen["episode_id"])
    assert closing["grade"]["rewards"]["defender"] == 1.1
    assert closing["grade"]["ground_truth"]["action"] == closing["grade"]["action"]
    return first, last
