"""The action that is the commonest in the training set, always."""

from __future__ import annotations

from collections import Counter

from eval.defenders.constant import Constant
from eval.sets import load_set
from schema import LABELS


class Majority(Constant):
    """The commonest action of `data/sft_train.jsonl`; of several that are equally common, the mildest."""

    def __init__(self) -> None:
        counts = Counter(row["ground_truth"]["action"] for row in load_set("sft_train").rows)
        super().__init__(max(LABELS, key=lambda label: counts[label]))
        self.name = "majority"
