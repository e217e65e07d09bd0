"""Tell what an attacker learned: python -m eval.plays out/cross --before generator --after g7 --against embedded

Reads a directory of `eval.cross_play` and prints Markdown: the plays of both attackers that are commonest, techniques, rungs of the ladder and context with
the success of each, and five incidents of the later one on which the defender was wrong, told in words.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.attempts import PlayedRun, load_defenders, open_played, read_played
from eval.cross_table import table
from eval.runs import Run
from players.attackers.attempts import Attempt
from players.prompt import rationale_in_words
from players.reasons import chain_of, in_words
from runs.directory import RUN
from runs.ending import refusing
from runs.files import write_output
from schema import BadRequestError
from telemetry.judging import line_text
from verifier.truth import LADDER

COMMONEST, TOLD = 8, 5  # plays of each attacker, incidents that are told
LINES, WIDTH = 6, 200  # of an incident's evidence, characters of a line


class Played(NamedTuple):
    """An incident that the gate admitted, and whether the defender's action was wrong; `answer` is its stored line."""

    attempt: Attempt
    fooled: bool
    answer: Mapping[str, Any]

    @property
    def play(self) -> str:
        """The incident's signature."""
        assert self.attempt.admission is not None
        return self.attempt.admission.play

    @property
    def truth(self) -> Any:
        """What the verifier says of it."""
        assert self.attempt.scenario is not None
        return self.attempt.scenario.truth


# ---------------------------------------------------------------- reading
def read_sides(out: Path, attackers: Sequence[str], defender: str) -> list[list[Played]]:
    """Read what attackers played against a defender, from a directory of `eval.cross_play`.

    Raises:
        BadRequestError: it holds no complete cross-play, or not these players.
    """
    played, _ = read_played(out / RUN, PlayedRun)
    defenders = {run.name: run for run in load_defenders(out)}
    known = [entrant.name for entrant in played.attackers]
    for name, names in ((defender, defenders), *((name, known) for name in attackers)):
        if name not in names:
            raise BadRequestError(f"Expected a player of this cross-play, one of {', '.join(names)}, and got {name!r}.")
    _, store = open_played(out, played)
    return [_played(store.of(name), defenders[defender], name) for name in attackers]


def _played(attempts: Sequence[Attempt], run: Run, attacker: str) -> list[Played]:
    answers = {row["id"]: row for row in run.by_set.get(attacker, [])}
    admitted = [attempted for attempted in attempts if attempted.scenario]
    pairs = [(attempted, answers[attempted.brief.id]) for attempted in admitted]
    return [Played(attempted, row["action"] != row["label"], row) for attempted, row in pairs]


# ---------------------------------------------------------------- what is counted
def play_in_words(played: Played) -> str:
    """Say what an incident's play is: its findings with strength and explanation, and what follows."""
    findings = Counter(
        f"{finding.rule_id} ({finding.strength}{_explained(finding.explained_by)})" for finding in played.truth.findings
    )
    parts = [name if count == 1 else f"{count} x {name}" for name, count in sorted(findings.items())]
    return f"{', '.join(parts) or 'no finding'}: {played.truth.action}"


def _explained(by: str) -> str:
    return f", explained by {by.rpartition(' ')[0] or by}" if by else ""


def context_of(played: Played) -> list[str]:
    """Name what of its world an incident uses: what explains findings, silent sensors, and a reporter's words."""
    truth, scenario = played.truth, played.attempt.scenario
    assert scenario is not None
    explained = {
        f"explained by {by.rpartition(' ')[0] or by}"
        for by in (finding.explained_by for finding in truth.findings)
        if by
    }
    traits = (
        [*sorted(explained), "harm done"] if any(finding.impact for finding in truth.findings) else sorted(explained)
    )
    if scenario.world.tickets and not explained:
        traits.append("tickets that explain nothing")
    if truth.together:
        traits.append("findings that bear each other out")
    if scenario.case.narrative:
        traits.append("a reporter's words")
    return traits or ["nothing of these"]


def compared(
    before: Sequence[Played], after: Sequence[Played], names_of: Callable[[Played], Iterable[str]], most: int
) -> list[list[str]]:
    """Return rows of a table: a name, and for each side the share of incidents that have it and how often the defender is wrong on them.

    Args:
        before, after: incidents of both sides.
        names_of: gives what an incident counts for.
        most: rows at most, the ones first that are commonest after.
    """
    sides = [_grouped(side, names_of) for side in (before, after)]
    order = sorted(
        {*sides[0], *sides[1]}, key=lambda name: (-len(sides[1].get(name, ())), -len(sides[0].get(name, ())), name)
    )
    totals = [len(before), len(after)]
    return [
        [name, *(_cell(side.get(name, []), total) for side, total in zip(sides, totals, strict=True))]
        for name in order[:most]
    ]


def _grouped(side: Sequence[Played], names_of: Callable[[Played], Iterable[str]]) -> dict[str, list[bool]]:
    groups: dict[str, list[bool]] = {}
    for played in side:
        for name in dict.fromkeys(names_of(played)):
            groups.setdefault(name, []).append(played.fooled)
    return groups


def _cell(hits: Sequence[bool], total: int) -> str:
    return f"{len(hits) / total:.1%}, wrong on {sum(hits)} of {len(hits)}" if hits else "-"


# ---------------------------------------------------------------- five incidents in words
def chosen(after: Sequence[Played], number: int = TOLD) -> list[Played]:
    """Choose incidents on which the defender was wrong, each of another play, those of the plays that fooled it most often first."""
    fooled = [played for played in after if played.fooled]
    times = Counter(played.play for played in fooled)
    firsts = {played.play: played for played in reversed(fooled)}
    return [firsts[play] for play, _ in times.most_common(number)]


def told(played: Played) -> str:
    """Tell an incident: what the verifier finds, what the defender answered, and the lines that count."""
    truth, row, scenario = played.truth, played.answer, played.attempt.scenario
    assert scenario is not None
    evidence = [line for line in scenario.case.lines if line["log_id"] in truth.evidence_log_ids]
    lines = [line_text(line).replace("```", "` ` `") for line in evidence[:LINES]]
    shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in lines]
    if len(evidence) > LINES:
        shown.append(f"... and {len(evidence) - LINES} more lines")
    said = (row["answer"] or {}).get("rationale") or row["fault"] or "no reason"
    words = rationale_in_words(said, played.attempt.row["observation"])
    return (
        f"**{played.attempt.brief.id}** ({len(scenario.case.lines)} lines). The verifier: {' '.join(in_words(chain_of(truth)))} "
        f"The defender answered **{row['action'] or 'nothing that can be read'}** for **{truth.action}**: {_plain(words)}\n\n"
        "```text\n" + "\n".join(shown) + "\n```"
    )


def _plain(text: str) -> str:
    """Return what a model wrote as one line of text that Markdown leaves as it is, cut."""
    line = " ".join(text.split())[:400]
    return f"`{line.replace('`', chr(39))}`"


# ---------------------------------------------------------------- the page
def page(before: str, after: str, defender: str, sides: Sequence[Sequence[Played]]) -> str:
    """Write what the later of two attackers learned against a defender, as Markdown.

    Args:
        before, after: names of the attackers.
        defender: who answered.
        sides: what each of both played.
    """
    return "\n\n".join(_parts(before, after, defender, *sides)) + "\n"


def _parts(before: str, after: str, defender: str, first: Sequence[Played], second: Sequence[Played]) -> Iterator[str]:
    sides = [_side(name, side) for name, side in ((before, first), (after, second))]
    yield f"## What {after} plays against {defender}, beside {before}\n\n" + " ".join(sides)
    head = (before, after)
    words = {played.play: play_in_words(played) for side in (first, second) for played in side}
    for title, names_of, most in (
        ("play", lambda played: [words[played.play]], 2 * COMMONEST),
        ("technique", lambda played: played.truth.techniques or ["none"], COMMONEST),
        ("rung", lambda played: [_rung(played.truth.rung)], len(LADDER)),
        ("context", context_of, COMMONEST),
    ):
        yield f"Share of admitted incidents by {title}, and on how many of them {defender} is wrong:\n\n" + table(
            (title, *head), compared(first, second, names_of, most)
        )
    examples = chosen(second)
    if examples:
        yield f"### Incidents of {after} on which {defender} is wrong"
        yield from map(told, examples)


def _rung(rung: str) -> str:
    return next((f"{rung}: {why}" for name, (_, why) in LADDER.items() if name == rung), "no rung")


def _side(name: str, side: Sequence[Played]) -> str:
    if not side:
        return f"Nothing of {name} was admitted."
    lines = [len(played.attempt.scenario.case.lines) for played in side if played.attempt.scenario]
    plays, wrong = len({played.play for played in side}), sum(played.fooled for played in side)
    return f"{name}: {len(side)} admitted incidents of {plays} plays, {statistics.median(lines):g} lines in the median, the defender wrong on {wrong}."


@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the page; return 0, or 2 if the directory does not hold these players."""
    parser = argparse.ArgumentParser(prog="python -m eval.plays", description="Tell what an attacker learned.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="that eval.cross_play wrote")
    parser.add_argument("--before", required=True, metavar="NAME", help="attacker to compare with")
    parser.add_argument("--after", required=True, metavar="NAME", help="attacker that learned")
    parser.add_argument("--against", required=True, metavar="NAME", help="defender")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: print)")
    args = parser.parse_args(argv)
    text = page(
        args.before, args.after, args.against, read_sides(args.directory, (args.before, args.after), args.against)
    )
    if args.out:
        write_output(args.out, text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
