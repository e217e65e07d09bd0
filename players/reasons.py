"""The chain of reasons: what was found where, how sure it is, whom it concerns, what explains it, and what follows by the ladder.

    chain_of(ground_truth)                        the verifier's findings as a chain, with the names of the organisation
    write_chain(renamed(chain, names))            a rationale such as
        unit-written L1-3 confirmed host on=@crown1 by=@user2 with=tee ok=@t1 remote-shell-pipe L1-4 confirmed host on=@host4 by=@user4 ok=no so=host
    parse_chain(rationale), parse_reasons(rationale)   read it back, as far as it is well formed
    action_by(chain)                              the action that follows: an answer with another one contradicts itself

Each word is a look-up or a small step from the words before it, so a small model can say it, and a wrong answer can be read. The
rule comes before its lines (it says what to look for), and the findings in the order of their lines.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, get_args

from players.values import QUOTED, SHORT_NAME, TICKET, plain, read, read_list, read_work, work_name
from schema import CLOUD_WORK, Label
from verifier.context import SEVERAL_HOSTS
from verifier.truth import BEAR_OUT, LADDER, GroundTruth
from verifier.window import Finding, Scope, Strength

MOST_REASONS = 6  # findings of a chain: unexplained and confirmed ones first
MOST_NAMED = 4  # lines, hosts or accounts of a reason; of more the first three are named
MORE = "+"  # stands last where there are more than are named
NOT_EXPLAINED, BY_TOOL = "no", "tool"
STRENGTHS: tuple[str, ...] = get_args(Strength)
SCOPES: tuple[str, ...] = get_args(Scope)
RUNGS: Mapping[str, tuple[Label, str]] = {str(rung): step for rung, step in LADDER.items()}
OPENING = 4  # parts that begin a reason: rule, lines, strength, scope
PARTS = ("on", "by", "with", "from", "ok")  # hosts, accounts, program or work, the other end, what explains it
NO_REASONS = "so="  # begins a chain without a reason
TOGETHER = "together"  # stands before the rung where suspicious findings bear each other out


class Reason(NamedTuple):
    """One finding of a chain.

    `hosts` begin with the place of the finding. Read back, `lines`, `hosts` and `accounts` end with `MORE` where there are more than are named. `tool` and `remote` are empty where there is none. `explanation` is
    empty where nothing explains the finding, else a ticket's name (`ticket CHG-1042`, or its short name), `tool`, or the scanner's address.
    """

    rule_id: str
    lines: tuple[str, ...]
    strength: str
    scope: str
    harm: bool = False
    hosts: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    tool: str = ""
    remote: str = ""
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """The reasons, in the order of their lines, and the rung of the ladder that they reach; empty where a reply names none."""

    reasons: tuple[Reason, ...]
    rung: str
    together: bool = False


# ---------------------------------------------------------------- from the verifier
def chain_of(truth: GroundTruth) -> Chain:
    """Make the chain of a ground truth that holds its findings."""
    gravest = sorted(truth.findings, key=lambda finding: (bool(finding.explained_by), finding.strength != "confirmed"))
    ordered = sorted(gravest[:MOST_REASONS], key=lambda finding: (position_of(finding.evidence[0]), finding.rule_id))
    return Chain(tuple(map(_reason, ordered)), truth.rung, truth.together)


def position_of(log_id: str) -> list[int]:
    """Return the numbers of a log id, by which lines stand in their order."""
    return [int(number) for number in re.findall(r"\d+", log_id)]


def _reason(finding: Finding) -> Reason:
    return Reason(
        finding.rule_id,
        finding.evidence,
        finding.strength,
        finding.scope,
        finding.impact,
        tuple(dict.fromkeys((finding.host, *finding.hosts))) if finding.host else finding.hosts,
        finding.accounts,
        finding.tool,
        finding.remote,
        _explanation(finding.explained_by),
    )


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names) if len(names) <= MOST_NAMED else (*names[: MOST_NAMED - 1], MORE)


def _explanation(explained_by: str) -> str:
    """Return a ticket as it is, a scanner as its address, a tool as such: the reason names it already."""
    if explained_by.startswith("approved tool "):
        return BY_TOOL
    return explained_by.removeprefix("authorised scanner ")


def renamed(chain: Chain, names: Mapping[str, str]) -> Chain:
    """Call hosts, accounts, addresses and tickets by other names (`players.compact.Compact.names`, or those the other way round).

    After its place a reason's hosts stand crown jewels first, then in the order of `names` (of a prompt's: the last defined first); so do its accounts.
    """
    order = {name: (not _is_kind(name, "crown"), index) for index, name in enumerate(names.values())}

    def ordered(values: Sequence[str]) -> list[str]:
        called = [names.get(value, value) for value in values]
        return sorted(called, key=lambda name: order.get(name, (True, len(order))))

    return replace(
        chain,
        reasons=tuple(
            reason._replace(
                hosts=(*(names.get(host, host) for host in reason.hosts[:1]), *ordered(reason.hosts[1:])),
                accounts=tuple(ordered(reason.accounts)),
                remote=names.get(reason.remote, reason.remote),
                explanation=names.get(reason.explanation, reason.explanation),
            )
            for reason in chain.reasons
        ),
    )


# ---------------------------------------------------------------- written and read
def write_chain(chain: Chain) -> str:
    """Write a chain as a rationale."""
    return " ".join([*map(write_reason, chain.reasons), write_end(chain.rung, chain.together)])


def write_reason(reason: Reason) -> str:
    """Write one reason of a chain."""
    return " ".join(_parts(reason))


def write_end(rung: str, together: bool) -> str:
    """Write what a chain ends with."""
    return f"so={TOGETHER},{rung}" if together else f"so={rung}"


def _parts(reason: Reason) -> Iterator[str]:
    yield from (reason.rule_id, ",".join(_first(reason.lines)), reason.strength, reason.scope)
    if reason.harm:
        yield "harm"
    for name, values in (("on", reason.hosts), ("by", reason.accounts)):
        if values:
            yield f"{name}={','.join(map(_named, _first(values)))}"
    if reason.tool:
        yield f"with={work_name(reason.tool)}"
    if reason.remote:
        yield f"from={_named(reason.remote)}"
    yield f"ok={_named(reason.explanation) if reason.explanation else NOT_EXPLAINED}"


def _named(name: str) -> str:
    return name if SHORT_NAME.fullmatch(name) or name == MORE else plain(name)


_ITEM = rf'(?:{QUOTED}|[^ ",`][^ ",]*)'  # as `plain` writes it; no text can be read in two ways, so reading takes linear time
_PART = re.compile(rf'(?:(on|by|with|from|ok|so)=)?(`[^`]*`|{_ITEM}(?:,{_ITEM})*|[^ `"][^ ]*)(?: |$)')
_LINES = re.compile(r"[A-Za-z]+\d+-\d+(?:,[A-Za-z]+\d+-\d+)*(?:,\+)?")


def parse_reasons(rationale: str) -> list[Reason]:
    """Return the reasons that a rationale gives, in its order, up to the first that is not well formed. Never raises."""
    return list(parse_chain(rationale).reasons)


def parse_chain(rationale: str) -> Chain:
    """Return the chain that a rationale gives, as far as it is well formed; its rung is empty where it does not end with one. Never raises."""
    parts, reasons = deque(_read_parts(rationale)), list[Reason]()
    while parts and parts[0][0] != "so":
        reason = _take_reason(parts)
        if reason is None:
            return Chain(tuple(reasons), "")
        reasons.append(reason)
    return Chain(tuple(reasons), *_read_end(parts))


def _read_end(parts: Sequence[tuple[str, str]]) -> tuple[str, bool]:
    """Return the rung that the last part gives, and whether findings bear each other out; no rung where it gives none or others follow."""
    together, _, rung = parts[0][1].rpartition(",") if len(parts) == 1 else ("", "", "")
    return (rung, bool(together)) if rung in RUNGS and together in ("", TOGETHER) else ("", False)


def _read_parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a rationale with their names, up to where it is none."""
    at = 0
    while at < len(text) and (part := _PART.match(text, at)):
        yield part[1] or "", part[2]
        at = part.end()
    if at < len(text):
        yield "", ""


def _take_reason(parts: deque[tuple[str, str]]) -> Reason | None:
    """Take the reason that parts begin with off them; None where they begin with none."""
    opening = [value for name, value in islice(parts, OPENING) if not name]
    if len(opening) < OPENING:
        return None
    rule_id, lines, strength, scope = opening
    if not _LINES.fullmatch(lines) or strength not in STRENGTHS or scope not in SCOPES:
        return None
    for _ in opening:
        parts.popleft()
    harm = bool(parts) and parts[0] == ("", "harm")
    if harm:
        parts.popleft()
    values = _take_values(parts)
    if "ok" not in values:
        return None
    return Reason(
        rule_id,
        tuple(lines.split(",")),
        strength,
        scope,
        harm,
        read_list(values.get("on", "")),
        read_list(values.get("by", "")),
        read_work(values.get("with", "")),
        read(values.get("from", "")),
        "" if values["ok"] == NOT_EXPLAINED else read(values["ok"]),
    )


def _take_values(parts: deque[tuple[str, str]]) -> dict[str, str]:
    """Take the values of `PARTS` off parts, up to `ok`, by their names; none where another part comes before it, or one twice."""
    values: dict[str, str] = {}
    while parts and "ok" not in values:
        name, value = parts.popleft()
        if name not in PARTS or name in values:
            return {}
        values[name] = value
    return values


# ---------------------------------------------------------------- what follows
def action_by(chain: Chain) -> Label | None:
    """Return the action that follows from a chain with short names by the ladder, None where it reaches no rung.

    Tiers, privilege and what lies outside are read from the short names. Of suspicious findings that bear each other out those count that stand on other
    lines of the same place; that they lie within an hour a chain does not say, so `together` is taken from it.
    """
    if not chain.rung:
        return None
    ends = rungs_of(chain.reasons, silent=chain.rung == "silent")
    rung = next((rung for rung, together in ends if together == chain.together), ends[0][0])
    return RUNGS[rung][0]


def rungs_of(reasons: Sequence[Reason], *, silent: bool) -> list[tuple[str, bool]]:
    """List the ends that some reasons with short names can have by the ladder: rungs, each with whether suspicious findings bear each other out.

    There is one, but where suspicious findings may bear each other out: then that they do not comes first, that they do second.

    Args:
        silent: whether the sensor behind the alert was silent.
    """
    live = [reason for reason in reasons if not reason.explanation]
    if confirmed := [reason for reason in live if reason.strength == "confirmed"]:
        return [(_rung_of(confirmed), False)]
    if live:
        together = [reason for reason in live if any(_bear_out(reason, other) for other in live)]
        return [("suspicious", False), *([(_rung_of(together), True)] if together else [])]
    return [("silent" if silent else "explained" if reasons else "nothing", False)]


def _bear_out(reason: Reason, other: Reason) -> bool:
    return (
        reason.rule_id != other.rule_id
        and set(reason.lines).isdisjoint({*other.lines} - {MORE})
        and (reason.hosts or reason.accounts)[:1] == (other.hosts or other.accounts)[:1] != ()
    )


def _rung_of(confirmed: Sequence[Reason]) -> str:
    hosts = {host for reason in confirmed for host in reason.hosts}
    if any(reason.harm for reason in confirmed):
        return "harm"
    if any(_is_kind(host, "crown") for host in hosts):
        return "crown"
    if any(_is_kind(account, "priv") for reason in confirmed for account in reason.accounts):
        return "privileged"
    if len(hosts) >= SEVERAL_HOSTS:
        return "several"
    if any(reason.scope == "host" for reason in confirmed):
        return "host"
    return "outside" if any(map(_comes_from_outside, confirmed)) else "neither"


def _is_kind(name: str, kind: str) -> bool:
    return name[: len(kind) + 1] == f"@{kind}" and name[len(kind) + 1 :].isdecimal()


_OURS = re.compile(r"@(crown|host|lab|in|scan)\d+")


def _comes_from_outside(reason: Reason) -> bool:
    if reason.tool == CLOUD_WORK:
        return bool(reason.remote) and not _OURS.fullmatch(reason.remote)
    return reason.scope == "network" and bool(reason.remote)


# ---------------------------------------------------------------- in words
def in_words(chain: Chain) -> list[str]:
    """Say a chain in sentences: one a finding, and the last what follows."""
    return [*map(_sentence, chain.reasons), f"{_conclusion(chain)}."]


def _sentence(reason: Reason) -> str:
    where = f" on {_all(reason.hosts)}" if reason.hosts else ""
    who = f" by {_all(reason.accounts)}" if reason.accounts else ""
    tool = f" with {reason.tool}" if reason.tool else ""
    remote = f" from {reason.remote}" if reason.remote else ""
    harm = ", harm done" if reason.harm else ""
    more = f"{where}{who}{tool}{remote}"
    return f"{reason.rule_id} in {_all(reason.lines)}: {reason.strength}{harm}{',' if more else ''}{more}; {_explained(reason)}."


def _all(names: Sequence[str]) -> str:
    names = _first(names)
    return f"{', '.join(names[:-1])} and more" if names[-1:] == (MORE,) else ", ".join(names)


def _explained(reason: Reason) -> str:
    if not reason.explanation:
        return "nothing explains it"
    if reason.explanation == BY_TOOL:
        return "an approved tool of the department explains it"
    if reason.explanation.startswith(TICKET):
        return f"{reason.explanation} explains it"
    return f"{reason.explanation}, an authorised scanner, explains it"


def _conclusion(chain: Chain) -> str:
    if chain.rung not in RUNGS:
        return "No conclusion"
    action, why = RUNGS[chain.rung]
    together = BEAR_OUT if chain.together else ""
    return f"So {action}: {together}{why}"
