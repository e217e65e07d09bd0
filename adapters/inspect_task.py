"""OpenSOC as an Inspect AI task: inspect eval adapters/inspect_task.py --model MODEL -T name=holdout

The dataset is a frozen set, the scorer the verifier with the rubric. Metrics, each with a standard error: `accuracy`, mean `reward`,
`dismiss_on_malicious` (over what must not be dismissed), `format_ok` and `answered`. A sample whose request failed counts as one without an
answer: left out, it would flatter a model that fails on hard items. A sample's metadata holds its observation, so a stored
log can be scored again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # `inspect eval FILE` leaves the checkout's root out

from players.base import Density
from players.prompt import messages
from players.scoring import score_reply
from rubric import TableName
from runs.extras import missing
from tasks.sets import expand, load_set
from verifier.decision import judge_observation

try:
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, solver
except ModuleNotFoundError as error:
    raise missing(error, "inspect") from error

METRICS = {name: [mean(), stderr()] for name in ("accuracy", "reward", "dismiss_on_malicious", "format_ok", "answered")}
FAILED = "the request failed: "


def sample(row: Mapping[str, Any], density: Density = "full") -> Sample:
    """Return a frozen row as a sample: the chat as input, the right action as target, the rest as metadata."""
    system, user = messages(row["observation"], density=density)
    return Sample(
        id=row["id"],
        input=[ChatMessageSystem(content=system["content"]), ChatMessageUser(content=user["content"])],
        target=row["ground_truth"]["action"],
        metadata={name: row[name] for name in ("observation", "task", "split", "family", "weight")},
    )


@solver
def asked() -> Solver:
    """Return a solver that asks the model once; a request that fails leaves no answer and its error."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            return await generate(state)
        except Exception as error:
            state.output = ModelOutput.from_content(
                str(state.model), "", stop_reason="unknown", error=f"{FAILED}{error}"
            )
            return state

    return solve


@scorer(metrics=METRICS)
def verifier_scorer(reward_table: TableName = "standard") -> Scorer:
    """Return a scorer by the verifier: what the environment pays for a reply, and whether it is right, well-formed, a dismissed threat.

    Args:
        reward_table: `standard` or `hardened`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        observation = state.metadata["observation"]
        truth = judge_observation(observation)
        paid = score_reply(state.output.completion, {"observation": observation, "ground_truth": truth}, reward_table)
        values = {
            "accuracy": float(paid.right),
            "reward": paid.reward,
            "dismiss_on_malicious": float("nan") if truth.action == "dismiss" else float(paid.action == "dismiss"),
            "format_ok": float(paid.action is not None),
            "answered": float(not state.output.error),
        }
        return Score(
            value=values,
            answer=paid.action,
            explanation=state.output.error or paid.fault or truth.explanation,
            metadata={"components": paid.components, "evidence": list(truth.evidence_log_ids)},
        )

    return score


@task
def opensoc(name: str = "holdout", density: Density = "full", reward_table: TableName = "standard") -> Task:
    """Return the task of triaging a frozen set.

    Args:
        name: `holdout`, another set of `data/manifest.json`, `benchmark` for the three test sets together, or a file of that form.
        density: how much the prompt says: `full`, `compact` or `legend`.
        reward_table: `standard` or `hardened`.
    """
    rows = [row for part in expand([name]) for row in load_set(part).rows]
    return Task(
        dataset=MemoryDataset([sample(row, density) for row in rows], name=name),
        solver=asked(),
        scorer=verifier_scorer(reward_table),
    )
