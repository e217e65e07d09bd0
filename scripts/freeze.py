#!/usr/bin/env python3
"""Hash what a change of the code's shape must not change: python scripts/freeze.py [--only PART ...] [--write]

Compares with scripts/freeze.json and names each part that differs; `--write` stores the hashes of now, and the commit that
does so says why. The parts:

    sets        rows of all frozen sets, without `prompt`
    playbook    the text in the prompt and docs/playbook.md
    prompts     both densities of the chat on 200 incidents of the hold-out
    audit       the figures of `eval.audit` on 150 incidents of each task, and data/audit.json
    openapi     the service's OpenAPI document
    truths      ground truth, findings and gate of 3,000 incidents: four tasks, five splits, 150 each
    replies     the stored replies of a run over the hold-out, and odd forms of them, scored again
    episodes    what a defender is shown of 500 episodes, four tasks and five splits, from the reset to the closing observation
    recordings  the decisions on ../shared/real/dev, where that lies beside the checkout
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STORED = Path(__file__).with_suffix(".json")
REPLIES = Path(__file__).with_name("frozen_replies.jsonl")
RECORDINGS = ROOT.parent / "shared" / "real" / "dev"
sys.path.insert(0, str(ROOT))


def sets() -> Iterator[tuple[str, Any]]:
    """Give every row of every frozen set without its prompt."""
    from tasks.sets import NAMES, load_set

    for name in NAMES:
        yield name, [{key: row[key] for key in row if key != "prompt"} for row in load_set(name).rows]


def playbook() -> Iterator[tuple[str, Any]]:
    """Give the playbook's text and its page."""
    from verifier import playbook_text

    yield "text", playbook_text()
    yield "page", (ROOT / "docs" / "playbook.md").read_text()


def prompts() -> Iterator[tuple[str, Any]]:
    """Give the chats of the hold-out's incidents in both densities."""
    from players.prompt import messages
    from tasks.sets import load_set

    rows = load_set("holdout").rows
    yield "full", [messages(row["observation"], "full") for row in rows]
    yield "compact", [messages(row["observation"], "compact") for row in rows]


def audit() -> Iterator[tuple[str, Any]]:
    """Give the figures of a quick audit and the stored ones."""
    done = subprocess.run(
        [sys.executable, "-m", "eval.audit", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True
    )
    yield "quick", json.loads(done.stdout)
    yield "stored", json.loads((ROOT / "data" / "audit.json").read_text())


def openapi() -> Iterator[tuple[str, Any]]:
    """Give the OpenAPI document."""
    from app_runtime import Settings, create_app

    yield "document", create_app(Settings()).openapi()


def truths() -> Iterator[tuple[str, Any]]:
    """Give what the verifier and the gate say of generated incidents."""
    from generator import generate
    from schema import TASKS
    from tasks.registry import SPLITS
    from verifier import check_plausibility, compute_ground_truth, signature

    for split in SPLITS:
        for task in TASKS:
            found = []
            for index in range(150):
                case = generate(task, index, split=split)
                truth = compute_ground_truth(case.incident, case.world)
                found.append(
                    [truth.to_dict(), check_plausibility(case.incident, case.world), signature(case.incident, truth)]
                )
            yield f"{split} {task}", found


def odd_forms(reply: str) -> tuple[str, ...]:
    """Say a reply in other ways that models have."""
    return (
        reply,
        f"Here is my triage:\n```json\n{reply}\n```",
        f"<think>{reply.replace('L1-', 'L9-')}</think>\n{reply}",
        reply[: len(reply) // 2],
        reply.replace('"', "'"),
        f"{reply}\n{reply}",
        f'{{"submit_triage": {reply}}}',
        reply.replace("L1-", "L9-"),
    )


def replies() -> Iterator[tuple[str, Any]]:
    """Give the scores of the stored replies, with both reward tables."""
    from players.reply import parse
    from rubric import score_triage
    from tasks.sets import load_set
    from verifier import judge_observation

    rows = {row["id"]: row for row in load_set("holdout").rows}
    for table in ("standard", "hardened"):
        scores = []
        for line in REPLIES.read_text().splitlines():
            stored = json.loads(line)
            observation = rows[stored["id"]]["observation"]
            truth = judge_observation(observation)
            log_ids = [event["log_id"] for event in observation["log_window"]]
            for reply in odd_forms(stored["reply"]):
                parsed = parse(reply)
                scored = score_triage(parsed.answer, truth, log_ids, table)
                triage = scored.triage.model_dump() if scored.triage else None
                scores.append([triage, scored.fault, scored.reward, scored.components])
        yield table, scores


def episodes() -> Iterator[tuple[str, Any]]:
    """Give the observations of 500 episodes in which a defender says monitor, and of an attacker's turn in each split."""
    from env import OpenSOCEnv
    from schema import TASKS
    from tasks.registry import SPLITS

    env = OpenSOCEnv()
    for split in SPLITS[:5]:
        seen = []
        for task in TASKS:
            for seed in range(25):
                first = env.reset(task=task, split=split, seed=seed)
                triage = {"action": "monitor", "cited_log_id": first.log_window[0]["log_id"], "rationale": "Odd."}
                seen += [first.model_dump_json(), env.step({"submit_triage": triage}).model_dump_json()]
        seen.append(env.reset(mode="self_play", split=split, seed=7).model_dump_json())
        yield split, seen


def recordings() -> Iterator[tuple[str, Any]]:
    """Give the decisions on recorded telemetry."""
    from telemetry.judging import find_files, judge_files
    from world import World

    if RECORDINGS.is_dir():
        judged = judge_files(find_files([RECORDINGS]).files, World())
        yield (
            "decisions",
            [{name: value for name, value in one.row(details=True).items() if name != "path"} for one in judged],
        )


PARTS = (sets, playbook, prompts, audit, openapi, truths, replies, episodes, recordings)


def sha256(value: Any) -> str:
    """Hash plain data by its canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def hashes(names: Iterable[str]) -> dict[str, str]:
    """Hash the named parts."""
    found: dict[str, str] = {}
    for part in PARTS:
        if part.__name__ in names:
            found |= {f"{part.__name__}/{name}": sha256(value) for name, value in part()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Hash what a change of shape must not change.")
    names = [part.__name__ for part in PARTS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="PART", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--write", action="store_true", help="store the hashes of now in scripts/freeze.json")
    args = parser.parse_args()
    stored = json.loads(STORED.read_text()) if STORED.is_file() else {}
    now = hashes(args.only)
    if args.write:
        kept = {name: value for name, value in stored.items() if name.partition("/")[0] not in args.only}
        STORED.write_text(json.dumps(kept | now, indent=1, sort_keys=True) + "\n")
    wanted = {name: value for name, value in stored.items() if name in now or name.partition("/")[0] in args.only}
    if not RECORDINGS.is_dir():
        wanted = {name: value for name, value in wanted.items() if not name.startswith("recordings/")}
    differing = [name for name in sorted(wanted.keys() | now) if wanted.get(name) != now.get(name)]
    for name in differing:
        print(f"changed: {name} was {wanted.get(name)} and is {now.get(name)}")
    print(f"{len(now)} hashes, {len(differing)} changed{' and stored' if args.write else ''}.")
    return 1 if differing and not args.write else 0


if __name__ == "__main__":
    sys.exit(main())
