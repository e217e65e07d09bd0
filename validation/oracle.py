"""Play episodes on a running server and earn the maximum on each: python validation/oracle.py [--url URL]

The oracle has no secret: it reads the observation as any defender does and applies the published rules (`verifier.judge_observation`),
so its success also shows that the observation determines the answer. It exits with 1 if an episode earns less.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from verifier.decision import judge_observation

TASKS = ("stage1_basic", "stage2_multi", "stage3_mixed", "stage4_adversarial")
MAXIMUM = 1.1


def answer(observation: dict[str, Any]) -> dict[str, Any]:
    """Return the right triage of a defender's observation."""
    truth = judge_observation(observation)
    return {
        "submit_triage": {
            "action": truth.action,
            "cited_log_id": truth.evidence_log_ids[0],
            "rationale": truth.explanation,
        }
    }


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return dict(json.load(reply))


def main() -> None:
    """Play the episodes, print a line for each task, and exit with 1 if one earned less than the maximum."""
    parser = argparse.ArgumentParser(description="Play episodes with the right answers on a running server.")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="where the server is (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=25, help="episodes of each task (default %(default)s)")
    args = parser.parse_args()
    missed = 0
    for task in TASKS:
        rewards = []
        for seed in range(args.episodes):
            episode = _post(f"{args.url}/reset", {"task": task, "mode": "defender_only", "seed": seed})
            result = _post(f"{args.url}/step", {"episode_id": episode["episode_id"], **answer(episode["observation"])})
            rewards.append(result["reward"])
        missed += sum(reward < MAXIMUM for reward in rewards)
        print(f"{task}: {len(rewards)} episodes, least reward {min(rewards):g} of {MAXIMUM:g}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
