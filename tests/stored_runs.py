"""Made-up rollouts and run directories for tests of what reads them."""

import json
from types import SimpleNamespace

from generator import generate
from rubric import score_triage
from scenario import Scenario
from schema import LABELS, TASKS, BadRequestError
from verifier import judge_observation

TRUTHS = ["dismiss"] * 26 + ["monitor"] * 43 + ["quarantine_host"] * 43 + ["block_ip"] * 44 + ["escalate"] * 44
FAMILIES = 20


def rollout(number=0, label="dismiss", action="dismiss", **parts):
    """One line of rollouts.jsonl: the defender cites evidence and is sure of nothing."""
    answer = {"action": action, "cited_log_id": "L1-1", "rationale": "As the playbook says.", "confidence": None}
    row = {
        "id": f"item-{number}",
        "set": "holdout",
        "task": TASKS[number % len(TASKS)],
        "split": "holdout",
        "family": f"family-{number % FAMILIES}",
        "weight": 1.0,
        "label": label,
        "evidence": ["L1-1"],
        "window": ["L1-1", "L1-2"],
        "prompt": "judge this",
        "reply": json.dumps(answer) if action else "no answer",
        "answer": answer if action else None,
        "action": action,
        "fault": "" if action else "no JSON object",
        "reward": 1.1 if action == label else -1.0,
        "components": {},
        "latency_s": 0.01,
        "usage": None,
    }
    return {**row, **parts}


def with_confidence(row, confidence):
    """A rollout whose answer states a confidence."""
    return {**row, "answer": {**row["answer"], "confidence": confidence}}


def played(player, truths=TRUTHS, **parts):
    """Rollouts of a player: `player(number, truth)` gives the action."""
    return [rollout(number, truth, player(number, truth), **parts) for number, truth in enumerate(truths)]


def oracle(number, truth):
    return truth


def always_dismiss(number, truth):
    return "dismiss"


def right_in(share):
    """A player that is right in so many of ten, and otherwise takes the next action."""
    return lambda number, truth: truth if (number * 7) % 10 < share else LABELS[(LABELS.index(truth) + 1) % len(LABELS)]


def write_run(path, name, rollouts, *, sha256="0" * 64, **info):
    """A run directory without metrics.json."""
    path.mkdir(parents=True, exist_ok=True)
    sets = list(dict.fromkeys(row["set"] for row in rollouts))
    about = {
        "opensoc": "0.1.0",
        "commit": "abc",
        "command": f"python -m eval.run --defender {name}",
        "defender": {"name": name, "kind": "constant"},
        "seed": 0,
        "density": "full",
        "reward_table": "standard",
        "sets": [{"name": one, "sha256": sha256, "items": sum(row["set"] == one for row in rollouts)} for one in sets],
        "started": "2026-03-02T09:14:07Z",
        "finished": "2026-03-02T09:15:07Z",
        "complete": True,
    }
    (path / "run.json").write_text(json.dumps({**about, **info}))
    (path / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rollouts))
    return path


# ---------------------------------------------------------------- runs over frozen rows
def frozen_rows(number, name="holdout"):
    """Rows of a made-up frozen set: generated incidents, with the truth that the verifier finds."""
    rows = []
    for index in range(number):
        task = TASKS[index % len(TASKS)]
        case = generate(task, index, label=LABELS[index // len(TASKS) % len(LABELS)])
        view = Scenario(case).view()
        observation = {part: view[part] for part in ("alert", "log_window", "context")}
        truth = judge_observation(observation)
        rows.append(
            {
                "id": f"{name}-{index}",
                "task": task,
                "split": name,
                "family": case.family,
                "prompt": "",
                "observation": json.loads(json.dumps(observation)),
                "ground_truth": truth.to_dict(),
                "weight": 1.0,
            }
        )
    return rows


def answered(row, action, name="holdout", **parts):
    """The rollout of an answer to a frozen row that cites the first line of evidence; an action of None is babble."""
    truth = row["ground_truth"]
    answer = {"action": action, "cited_log_id": truth["evidence_log_ids"][0], "rationale": "by the playbook"}
    reply = json.dumps({**answer, **parts}) if action else "I would rather not say."
    window = {line["log_id"] for line in row["observation"]["log_window"]}
    scored = score_triage({**answer, **parts} if action else None, judge_observation(row["observation"]), window)
    return {
        "id": row["id"],
        "set": name,
        **{part: row[part] for part in ("task", "split", "family", "weight")},
        "label": truth["action"],
        "evidence": truth["evidence_log_ids"],
        "window": sorted(window),
        "prompt": None,
        "reply": reply,
        "answer": scored.triage.model_dump() if scored.triage else None,
        "action": scored.triage.action if scored.triage else None,
        "fault": scored.fault,
        "reward": scored.reward,
        "components": scored.components,
        "latency_s": 0.01,
        "usage": None,
    }


def serve(monkeypatch, **sets):
    """Let `tasks.sets.load_set` give these rows by name, with a hash of zeros, and `players.reply.parse` read plain JSON."""

    def load_set(name):
        if name not in sets:
            raise BadRequestError(f"Expected a frozen set, and {name!r} is none.")
        return SimpleNamespace(name=name, path=None, sha256="0" * 64, rows=sets[name])

    def parse(reply):
        try:
            return SimpleNamespace(answer=json.loads(reply), fault="")
        except ValueError:
            return SimpleNamespace(answer=None, fault="no JSON object")

    monkeypatch.setattr("tasks.sets.load_set", load_set)
    monkeypatch.setattr("players.reply.parse", parse)
