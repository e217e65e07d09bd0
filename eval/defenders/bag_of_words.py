"""A bag of words: a logistic regression over the observation's masked words, fitted on the training set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eval.defenders.base import Defender, Reply, Row
from eval.features import words
from eval.sets import load_set
from schema import OpenSOCError


class BagOfWords(Defender):
    """scikit-learn's logistic regression on `data/sft_train.jsonl`; cites the alert's line and gives its probability as confidence.

    Raises:
        OpenSOCError: scikit-learn is not installed.
    """

    kind = "baseline"

    def __init__(self, seed: int) -> None:
        super().__init__("bag_of_words")
        try:
            from sklearn.feature_extraction.text import CountVectorizer
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
        except ImportError as error:
            raise OpenSOCError(
                "Expected scikit-learn for the defender bag_of_words, and it is not installed; install the extra `eval`."
            ) from error
        rows = load_set("sft_train").rows
        bag = CountVectorizer(token_pattern=r"[A-Za-z_][A-Za-z_]+", min_df=3, max_features=4000, binary=True)
        self._model = make_pipeline(
            bag, LogisticRegression(C=0.3, max_iter=1000, class_weight="balanced", random_state=seed)
        )
        self._model.fit([words(row["observation"]) for row in rows], [row["ground_truth"]["action"] for row in rows])

    def answer(self, batch: Sequence[Row]) -> list[Reply]:
        """Reply to each row with its likeliest action."""
        shares = self._model.predict_proba([words(row["observation"]) for row in batch])
        return [self._reply(row, share) for row, share in zip(batch, shares, strict=True)]

    def _reply(self, row: Row, shares: Any) -> Reply:
        best = int(shares.argmax())
        answer = {
            "action": str(self._model.classes_[best]),
            "cited_log_id": row["observation"]["alert"]["log_id"],
            "rationale": "by its words",
            "confidence": round(float(shares[best]), 4),
        }
        return Reply(json.dumps(answer))
