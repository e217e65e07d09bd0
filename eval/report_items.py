"""What the report's item browser shows of each incident: alert, lines, context, and the reasons of the verifier and of each defender.

`records` makes plain data, a record an item; `packed` makes of it a text that an HTML page may hold, whatever an attacker or a model wrote: compressed and in base64,
it has no character that means something to HTML. The page's script unpacks it and writes every text as text.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.reverify import Rows
from eval.runs import Run
from players.prompt import rationale_in_words
from players.reasons import chain_of, in_words
from runs.progress import track
from schema import shown_time, visible
from verifier.decision import judge_observation
from verifier.rules import RULES

LONGEST = 700  # characters of a text that are shown
NAMED = (
    "hosts",
    "accounts",
    "indicators",
)  # records of these are shown where a line names them: an organisation has many
CONTEXT = ("tickets", "sensors", *NAMED, "tools", "scanners", "networks")
Record = dict[str, Any]


def cut(text: str) -> str:
    """Cut a text to a length that can be read."""
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def records(runs: Sequence[Run], name: str, frozen: Mapping[str, Rows]) -> list[Record]:
    """List a record for each item of a set, in the first run's order.

    Args:
        runs: over the same items.
        name: the set.
        frozen: the rows of each set by id; items of a missing set stand without alert, lines, context and the verifier's reasons.

    Returns:
        Records with `id, set, task, family, truth, weight, evidence` and a list `answers`, one a run (`action` or None, `cited, reward, said, wrong_step`); where the
        row is at hand also `rules, title, severity, narrative, alerted, lines, context, reasons`.
    """
    answers = [{(row["set"], row["id"]): row for row in run.rollouts(name)} for run in runs]
    first = runs[0].rollouts(name)
    return [
        _record([mine[row["set"], row["id"]] for mine in answers], frozen.get(row["set"], {}).get(row["id"]))
        for row in track(first, "items", total=len(first))
    ]


def _record(rollouts: Sequence[Mapping[str, Any]], row: Mapping[str, Any] | None) -> Record:
    one = rollouts[0]
    observation = row["observation"] if row else None
    about = {part: one[part] for part in ("id", "set", "task", "family", "evidence")}
    return {
        **about,
        "truth": one["label"],
        "weight": one.get("weight", 1.0),
        "answers": [_answer(rollout, observation) for rollout in rollouts],
        **(_incident(observation) if observation else {}),
    }


def _answer(rollout: Mapping[str, Any], observation: Mapping[str, Any] | None) -> Record:
    answer = rollout["answer"] if rollout["action"] else None
    said = answer.get("rationale", "") if answer else rollout.get("reply") or rollout.get("fault") or ""
    return {
        "action": rollout["action"],
        "cited": answer["cited_log_id"] if answer else "",
        "reward": rollout["reward"],
        "said": cut(rationale_in_words(said, observation) if answer and observation else said),
        "wrong_step": (rollout.get("steps") or {}).get("first_wrong", ""),
    }


def _incident(observation: Mapping[str, Any]) -> Record:
    alert, truth = observation["alert"], judge_observation(observation)
    lines = [(line["log_id"], line_text(line)) for line in observation["log_window"]]
    named = " ".join(text for _, text in lines)
    return {
        "title": cut(alert["title"]),
        "severity": alert.get("severity", ""),
        "narrative": cut(alert.get("narrative", "")),
        "alerted": alert.get("log_id", ""),
        "lines": lines,
        "context": [(part, rows) for part, rows in _context(observation["context"], named) if rows],
        "rules": list(dict.fromkeys(truth.rule_ids)),
        "reasons": [*in_words(chain_of(truth))[:-1], f"So {truth.action}: {truth.why}."],
    }


def line_text(line: Mapping[str, Any]) -> str:
    """Render a log line: when, what, and its fields."""
    fields = " ".join(f"{name}={value}" for name, value in line["fields"].items())
    return cut(f"{shown_time(line['timestamp'])} {line['event_type']} {fields}")


def _context(context: Mapping[str, Any], named: str) -> Iterator[tuple[str, list[str]]]:
    for part in CONTEXT:
        rows = context.get(part, ())
        if part in NAMED:
            rows = [row for row in rows if any(isinstance(value, str) and value in named for value in _names(row))]
        yield part, [_context_row(row) for row in rows]


def _names(row: Mapping[str, Any]) -> Iterator[Any]:
    yield from (row.get(name) for name in ("name", "ip", "value") if row.get(name))


def _context_row(row: Any) -> str:
    if not isinstance(row, Mapping):
        return cut(str(row))
    return cut(", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in row.items()))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) or "any" if isinstance(value, (list, tuple)) else str(value)


# ---------------------------------------------------------------- into the page
def packed(runs: Sequence[Run], focus: str, items: Sequence[Record]) -> str:
    """Pack records, the defenders' names and what the rules look for into one text of letters, digits, `+`, `/` and `=`."""
    rules = {rule.rule_id: rule.summary for rule in RULES}
    data = {"defenders": [run.name for run in runs], "focus": focus, "rules": rules, "items": items}
    text = json.dumps(_shown(data), ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _shown(value: Any) -> Any:
    """Write out hidden characters in every text of plain data."""
    if isinstance(value, str):
        return visible(value, keep="\n")
    if isinstance(value, Mapping):
        return {_shown(name): _shown(member) for name, member in value.items()}
    return [_shown(member) for member in value] if isinstance(value, (list, tuple)) else value
