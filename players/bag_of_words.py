"""Play by a bag of words: a logistic regression over the observation's masked words, fitted on the training set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from players.base import Player, Reply, Row
from schema import OpenSOCError
from tasks.sets import load_set

_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), " TIME "),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?:/\d+)?\b"), " ADDRESS "),
    (re.compile(r"\b(?:CHG-\d+|L\d+-\d+)\b"), " ID "),
)


class BagOfWords(Player):
    """Fit scikit-learn's logistic regression on `data/sft_train.jsonl`; cite the alert's line, with the probability as confidence.

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


def words(observation: Mapping[str, Any]) -> str:
    """Return the text of alert, lines and context, with the names of hosts and accounts, addresses, times and ids masked."""
    context = observation["context"]
    text = "\n".join(_texts([observation["alert"], observation["log_window"], context]))
    names = {row["name"]: mask for part, mask in (("hosts", " HOST "), ("accounts", " USER ")) for row in context[part]}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def _texts(value: Any, name: str = "") -> Iterator[str]:
    """Yield keys and values as a reader sees them."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, name)
    else:
        yield f"{name} {value}"
