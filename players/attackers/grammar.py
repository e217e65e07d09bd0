"""Say how an incident's lines may go on: the grammar that the embedded attacker keeps to while it writes.

A text may go on as long as it could become an incident whose lines reader, schema and gate take. The form is that of `players.incidents`; types, fields and
closed lists are the schema's; hosts, accounts, addresses and short names are the world's. A value may stand where one of its completions is taken: itself,
what begins so in the world or a list, or it with more text behind. A line may end once it holds what a record of its kind always holds, an incident after
a line or a note. Nobody asks here what the verifier decides: whether the answer hangs on the edge of a threshold, only the gate says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError

from players.incidents import NOTE, LineReader, numbers_of
from players.values import QUOTED, read
from schema import CATEGORIES, FIELDS_OF, LABELS, MAX_EVENTS, MAX_NARRATIVE, Hex, Incident, account_name
from verifier.plausibility import MAX_LEAD_S, MAX_SPAN_S, bearable_categories, line_faults, value_faults
from verifier.window import WELL_KNOWN_ACCOUNTS
from world import World

_CLAIMS = tuple(f"{label} {category}" for label in LABELS for category in CATEGORIES)
_KINDS = tuple(
    f"{name}.{activity}"
    for name, fields in FIELDS_OF.items()
    for activity in get_args(fields.model_fields["activity"].annotation)
)
_GAP = re.compile(r"[+-]\d+(?:\.\d{1,6})?")
_FIRST_GAP, _NEXT_GAP = re.compile(r"-(?:[1-9]\d*(?:\.\d{0,6})?)?"), re.compile(r"\+(?:\d+(?:\.\d{0,6})?)?")  # begun
_PART = re.compile(rf" ([a-z_]+)=(`[^`]+`|{QUOTED}|[^ `\"][^ ]*)(?= |$)")
_BEGUN_PART = re.compile(r" (?:([a-z_]*)|([a-z_]+)=(.*))")
_BEGUN_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*\\?')
_BEGUN_NOTE = re.compile(rf'{NOTE} (?:`[^`]{{0,{MAX_NARRATIVE}}}`?|"(?:[^"\\]|\\.){{0,{MAX_NARRATIVE}}}\\?"?)')
_BEGUN_ARN = re.compile(r"arn:aws:(?:iam|sts)::(\d{0,12})")
_BEGUN_CLASS_ID = re.compile(r"\\clsid\\(\{[^}\\]*)$", re.IGNORECASE)
_CLASS_ID = "{4e7a1b9c-3d6f-4d8e-9c5b-0e7a1b9c3d6f}"
_CREATED = re.compile(r" account\.create\b[^\n]* user_name=([^ \n]+)")
_ENDLESS = re.compile(r"\bi-[0-9a-f]{18}|[0-9a-f]{65}")  # longer than an instance's id or a SHA-256 hash
_NUMBER = re.compile(r"(?:\d{1,2}:)?")  # a large one says its number of digits first
_MORE = "4e7t1s9r3n6d8l2m5c0q"  # stands for any text that may follow
_PUBLIC = ("198", "41", "0", "4")  # octets of an address on the internet


class Written(NamedTuple):
    """Whole lines of an incident: how many are events, the seconds from the first to the last, and whether a note ends them."""

    events: int
    span_s: float
    noted: bool


class LineGrammar:
    """Says what may be written in a world.

    Args:
        context: of the world, as the attacker's turn shows it.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._reader, self._world = LineReader(context), World.from_context(context)
        self._hosts = tuple(self._world.hosts)
        self._users = (*self._world.accounts, *(f"{host}$" for host in self._hosts), *WELL_KNOWN_ACCOUNTS)
        self._addresses = tuple(place["ip"] for place in (*self._world.hosts.values(), *self._world.scanners))
        self._written: dict[str, Written | None] = {}
        self._taken: dict[str, bool] = {}

    def goes_on(self, text: str) -> bool:
        """Return whether an incident may begin with a text."""
        lines, newline, last = text.rpartition("\n")
        if not newline:
            return any(claim.startswith(last) for claim in _CLAIMS)
        written = self._lines(lines)
        if written is None or written.noted:
            return False
        if written.events and (f"{NOTE} ".startswith(last) or _BEGUN_NOTE.fullmatch(last)):
            return True
        return written.events < MAX_EVENTS and self._event_goes_on(written, lines, last)

    def may_end(self, text: str) -> bool:
        """Return whether a text is a whole incident."""
        written = self._lines(text)
        return written is not None and written.events > 0

    def finished(self, text: str) -> str:
        """Return an incident without the lines from the first that is not whole, under a category that its events can bear; a text that holds none as it stands."""
        whole = text
        while whole and not self.may_end(whole):
            whole = whole.rpartition("\n")[0]
        incident = self._read(whole) if whole else None
        if incident is None:
            return text
        bearable = bearable_categories(incident, self._world)
        if incident.category in bearable or not bearable:
            return whole
        return "\n".join([f"{incident.target_label} {bearable[0]}", *whole.split("\n")[1:]])

    # ------------------------------------------------------------ lines
    def _lines(self, text: str) -> Written | None:
        """Return what whole lines hold; None where a text is none."""
        if text not in self._written:
            self._written[text] = self._read_lines(text)
        return self._written[text]

    def _read_lines(self, text: str) -> Written | None:
        lines, newline, last = text.rpartition("\n")
        if not newline:
            return Written(0, 0.0, noted=False) if last in _CLAIMS else None
        before = self._lines(lines)
        if before is None or before.noted or not self.goes_on(text):
            return None
        incident = self._read(text)
        if incident is None:
            return None
        if last.startswith(f"{NOTE} "):
            return before._replace(noted=True) if last[-1] == last[len(NOTE) + 1] and incident.narrative else None
        if len(incident.events) == before.events or line_faults(incident, self._world):
            return None
        gap, _, rest = last.partition(" ")
        parts = rest[rest.find(" ") :]
        if sum(part.size for part in _parts(parts)) != len(parts):
            return None
        return Written(before.events + 1, before.span_s + (float(gap) if before.events else 0.0), noted=False)

    def _event_goes_on(self, written: Written, lines: str, line: str) -> bool:
        gap, space, rest = line.partition(" ")
        if not line:
            return True
        if not (_NEXT_GAP if written.events else _FIRST_GAP).fullmatch(gap):
            return False
        most = MAX_SPAN_S - 1 - written.span_s if written.events else MAX_LEAD_S
        if float(gap[1:] or 0) > most:
            return False
        if not space:
            return True
        kind, space, rest = rest.partition(" ")
        if not _GAP.fullmatch(gap) or not any(known == kind if space else known.startswith(kind) for known in _KINDS):
            return False
        return not space or self._parts_go_on(f"{lines}\n{gap} {kind}", kind.partition(".")[0], f" {rest}")

    # ------------------------------------------------------------ name=value
    def _parts_go_on(self, before: str, event_type: str, text: str) -> bool:
        """Return whether name=value parts may go on, behind what stands before them."""
        parts = _parts(text)
        if sum(part.size for part in parts) == len(text):
            parts = parts[:-1]  # the last may be longer yet
        end = sum(part.size for part in parts)
        begun = _BEGUN_PART.fullmatch(text[end:])
        if begun is None or (parts and not self._takes(before + text[:end])):
            return False
        given = {part.name: part.value for part in parts}
        missing = FIELDS_OF[event_type].model_fields.keys() - given.keys() - {"activity"}
        name, value = begun[2], begun[3]
        if name is None:
            return any(one.startswith(begun[1]) for one in missing)
        if _ENDLESS.search(value):
            return False
        behind = f"{before}{text[:end]} {name}="
        values = chain(_CREATED.findall(before), self._quoted_values(event_type, name, value, given))
        return name in missing and any(whole.startswith(value) and self._takes(behind + whole) for whole in values)

    def _quoted_values(self, event_type: str, name: str, begun: str, given: Mapping[str, str]) -> Iterator[str]:
        """Yield values, as they are written, that begin so."""
        if begun[:1] == "`":
            within, closed, after = begun[1:].partition("`")
            if closed and not after:
                yield begun
            elif not closed:
                yield from (f"`{value}`" for value in self._values(event_type, name, within, given))
        elif begun[:1] == '"':
            if re.fullmatch(QUOTED, begun):
                yield begun
            elif _BEGUN_QUOTED.fullmatch(begun):
                yield f'{begun}\\"' if begun.endswith("\\") else f'{begun}"'
        else:
            values = self._values(event_type, name, begun, given)
            yield from (value for value in values if " " not in value and value[0] not in '`"')

    def _values(self, event_type: str, name: str, begun: str, given: Mapping[str, str]) -> Iterator[str]:
        """Yield what a value may be: as it stands, what begins so, and it with more behind."""
        form = _form(event_type, name)
        if begun.startswith("@"):
            is_address = name.endswith("ip")
            yield from (short for at, short in self._reader.names if at == is_address and short.startswith(begun))
            return
        if begun:
            yield begun
        yield from _beginning(begun, form if isinstance(form, tuple) else self._known(event_type, name, begun, given))
        if form == "number":
            yield from (f"{begun}0" for _ in (1,) if _NUMBER.fullmatch(begun))
        elif form == "address":
            yield from _addresses(begun)
        elif form == "text":
            class_id = _BEGUN_CLASS_ID.search(begun)
            yield begun + (_CLASS_ID[len(class_id[1]) :] if class_id else _MORE)

    def _known(self, event_type: str, name: str, begun: str, given: Mapping[str, str]) -> Iterable[str]:
        """Return values that the world, or what else the line says, suggests for a field."""
        if name in ("device_hostname", "target_hostname"):
            return self._hosts
        if name in ("actor_user", "user_name", "run_as"):
            return self._users
        if name in ("src_ip", "dst_ip"):
            return self._addresses
        if name == "user_uid":
            return self._identities(begun, given)
        if name == "cloud_account":
            return _BEGUN_ARN.findall(given.get("user_uid", ""))
        if name == "service_name":
            return [f"{begun.partition('/')[0]}/{host}" for host in self._hosts]
        if _form(event_type, name) == "hex":
            return ("0x1",)
        return {"user_type": ("Root", "IAMUser", "AssumedRole", "WebIdentityUser"), "status": ("0x0", "success")}.get(
            name, ()
        )

    def _identities(self, begun: str, given: Mapping[str, str]) -> Iterable[str]:
        """Return identities of the account that makes a call."""
        actor = read(given.get("actor_user", ""))
        actor = self._reader.names.get((False, actor), actor)
        own, place = account_name(actor), _BEGUN_ARN.match(begun)
        account = (place[1] if place else "").ljust(12, "1")
        if given.get("cloud_account", "").isdigit():
            account = given["cloud_account"]
        roles = (f"iam::{account}:user/{own}", f"sts::{account}:assumed-role/{_MORE}/{own}", f"iam::{account}:root")
        return (actor, own, f"{begun}/{own}", *(f"arn:aws:{role}" for role in roles))

    # ------------------------------------------------------------ reader, schema and gate
    def _read(self, text: str) -> Incident | None:
        try:
            return Incident.model_validate(self._reader.read(text))
        except (ValueError, ValidationError):
            return None

    def _takes(self, text: str) -> bool:
        """Return whether reader, schema and gate take the values of a text."""
        if text not in self._taken:
            incident = self._read(text)
            self._taken[text] = incident is not None and not value_faults(incident, self._world)
        return self._taken[text]


# ---------------------------------------------------------------- parts
class _Part(NamedTuple):
    """A name=value part that is whole: its value as it is written, and its length with the space before it."""

    name: str
    value: str
    size: int


def _parts(text: str) -> list[_Part]:
    """Return the whole parts at the beginning of a text."""
    parts, at = [], 0
    while match := _PART.match(text, at):
        parts.append(_Part(match[1], match[2], match.end() - at))
        at = match.end()
    return parts


@cache
def _form(event_type: str, name: str) -> tuple[str, ...] | Literal["number", "address", "hex", "text"]:
    """Return what a field takes: the members of a closed list, or what kind of text."""
    kinds = get_args(FIELDS_OF[event_type].model_fields[name].annotation)
    listed = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), None)
    if listed:
        return listed
    if name in numbers_of(event_type):
        return "number"
    if name.endswith("_ip"):
        return "address"
    return "hex" if Hex in kinds else "text"


def _beginning(begun: str, values: Iterable[str]) -> Iterator[str]:
    """Yield the values that begin so, in the letters that are there."""
    return (begun + value[len(begun) :] for value in values if value and value.lower().startswith(begun.lower()))


def _addresses(begun: str) -> Iterator[str]:
    """Yield addresses on the internet that begin so."""
    octets = begun.split(".")
    if len(octets) <= len(_PUBLIC):
        for digit in ("", "1", _PUBLIC[len(octets) - 1]):
            yield ".".join([begun + digit, *_PUBLIC[len(octets) :]])
