"""Play as many judges at once, from one address with one program, and count who is told whose grade: python scripts/bench_judges.py [--judges 2 20 200 400]

Each judge does what the README says (reset, step, grade, a new connection each time) and knows the answer that he gave. He tells the server which episode
he means in one of the forms: by the `id` that /reset answered, by a `name` of his own, by the `cookie` of /reset, or by the `query` (task, mode, seed) alone.
All share nothing but address and program, or the seeds, or seeds and answers. A grade is another's if it is not of his own answer to his own seed, or comes
to a judge whose step was refused. The command talks to loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections import Counter
from typing import Any
from urllib.parse import urlencode

from bench_servers import Answer, Caller, server

ANSWERS = ("dismiss", "monitor", "quarantine_host", "block_ip", "escalate")
FORMS = ("id", "name", "cookie", "query")
SHARED = ("nothing", "seeds", "seeds and answers")
AT_ONCE = 64  # connections; a machine that opens more than its limit tests itself


class Judge:
    """One judge, who keeps nothing but what his form says.

    Args:
        url: of the server.
        gate: bounds the connections at once.
        number: his own; decides his answers, and his seeds where these are his own.
        form: how he says which episode he means, one of `FORMS`.
        shared: what all judges have in common, one of `SHARED`.
        program: the user agent of all.
    """

    def __init__(self, url: str, gate: asyncio.Semaphore, number: int, form: str, shared: str, program: str) -> None:
        self.url, self.gate, self.number, self.form, self.shared = url, gate, number, form, shared
        self.headers = {"user-agent": program}
        self.outcomes: Counter[str] = Counter()

    async def play(self, index: int) -> None:
        """Play one episode and count what came of it."""
        seed = 1000 * self.number + index if self.shared == "nothing" else 42 + index
        asked: dict[str, Any] = {"task": "stage1_basic", "mode": "defender_only", "seed": seed}
        if self.form == "name":
            asked["episode_id"] = f"judge-{self.number}-{index}"
        answer = ANSWERS[0 if self.shared == "seeds and answers" else (self.number + index) % len(ANSWERS)]
        triage = {"action": answer, "cited_log_id": "L1-1", "rationale": "a judge's answer"}
        reset = await self.call("POST", "/reset", asked)
        if self.form == "id":
            asked = {"episode_id": reset.body["episode_id"]}
        step = await self.call("POST", "/step", asked, {"submit_triage": triage})
        grade = await self.call("GET", "/grade", asked)
        for path, reply in (("reset", reset), ("step", step), ("grade", grade)):
            self.outcomes[f"{path} {reply.status}"] += 1
        if step.status == 200:
            self.outcomes["another's"] += not _is_own(step.body["observation"]["grade"], seed, answer)
        if grade.status == 200:
            self.outcomes["another's"] += not _is_own(grade.body, seed, answer) or step.status != 200
        if grade.status == 409:
            self.outcomes["grade 409 with the number"] += "rival" in grade.body["detail"]

    async def call(self, method: str, path: str, params: dict[str, Any], body: Any = None) -> Answer:
        """Send one request over a connection of its own."""
        async with self.gate:
            caller = await Caller.connect(self.url)
            answer = await caller.call(method, f"{path}?{urlencode(params)}", body, self.headers)
            caller.close()
        if self.form == "cookie" and "set-cookie" in answer.headers:
            self.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        return answer


def _is_own(grade: dict[str, Any], seed: int, answer: str) -> bool:
    return (grade["seed"], grade["action"]) == (seed, answer)


async def judged(url: str, judges: int, form: str, shared: str, episodes: int) -> Counter[str]:
    """Let all judges play at once; returns what came of their calls."""
    gate = asyncio.Semaphore(AT_ONCE)
    players = [Judge(url, gate, number, form, shared, f"{judges} by {form}, {shared}") for number in range(judges)]

    async def session(player: Judge) -> None:
        for index in range(episodes):
            await player.play(index)

    await asyncio.gather(*map(session, players))
    return sum((player.outcomes for player in players), Counter())


def report(url: str, judges: int, form: str, shared: str, episodes: int) -> str:
    """Play and return a row of the table."""
    outcomes = asyncio.run(judged(url, judges, form, shared, episodes))
    strange = sorted(name for name in outcomes if name.endswith((" 404", " 422", " 429", " 500", " 503")))
    if strange or outcomes["grade 409"] != outcomes["grade 409 with the number"]:
        raise SystemExit(f"expected 200, and 409 with the number of rivals, alone; got {dict(outcomes)}")
    figures = [outcomes[name] for name in ("step 200", "step 409", "grade 200", "grade 409", "another's")]
    return "| " + " | ".join(map(str, (judges, form, shared, judges * episodes, *figures))) + " |"


def main() -> None:
    """Print a table: a row for each number of judges, form, and what they share."""
    parser = argparse.ArgumentParser(description="Count whose grade many judges at once are told.")
    parser.add_argument("--judges", type=int, nargs="+", default=[2, 20, 200, 400], help="how many play at once")
    parser.add_argument("--episodes", type=int, default=5, help="that each judge plays, one after another")
    args = parser.parse_args()
    print(
        "| judges | episode by | all share | episodes | step 200 | step 409 | grade 200 | grade 409 | another's grade |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with server("opensoc") as (url, _, _):
        for judges, form, shared in itertools.product(args.judges, FORMS, SHARED):
            print(report(url, judges, form, shared, args.episodes), flush=True)


if __name__ == "__main__":
    main()
