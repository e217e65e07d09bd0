"""Call the rules of some incidents by other rules' names, in prompt and answer alike, so that a model reads a name where it stands.

A small model knows by heart which telling is which rule, and then has no reason to read `rules=`; of a telling that it never met it knows nothing. Where names
change from incident to incident, the right one stands in the line alone.
"""

from __future__ import annotations

from random import Random
from typing import Any

from players.base import Row
from players.codec import PromptCodec
from train.data import RENAMED
from verifier.rules import RULES


class AliasCodec(PromptCodec):
    """Encodes a row with the key `RENAMED` under other names: some of the rules that its prompt names, each by the name of any rule that none other has there.

    A rule that the answer alone names keeps its name, which nobody could guess.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self._rules: list[int] = tokenizer.convert_tokens_to_ids([rule.rule_id for rule in RULES])

    def lesson(self, row: Row) -> tuple[list[int], list[int]]:
        prompt, answer = super().lesson(row)
        if RENAMED not in row:
            return prompt, answer
        rng, all_rules = Random(row[RENAMED]), set(self._rules)
        named = sorted(all_rules.intersection(prompt))
        share = rng.random()
        changed = [token for token in named if rng.random() < share]
        free = sorted(all_rules - (all_rules.intersection([*prompt, *answer]) - {*changed}))
        names = dict(zip(changed, rng.sample(free, len(changed)), strict=True))
        return [names.get(token, token) for token in prompt], [names.get(token, token) for token in answer]
