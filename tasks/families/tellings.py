"""Make families from rows: a telling is a few lines with blanks, and a family has some tellings for each strength.

    made(
        "opened_bucket", "T1530", "collection", ("cloud-opened-to-world",), CLOUD_WORK,
        suspicious=[[call("s3.amazonaws.com", "PutBucketAcl", {"bucketName": "{word}", "x-amz-acl": ["public-read"]})]],
        below=[[call("s3.amazonaws.com", "PutBucketAcl", {"bucketName": "{word}", "x-amz-acl": ["private"]})]],
    )

A blank is a name in braces. `{host}`, `{ip}`, `{user}`, `{other_host}`, `{other_ip}` and `{other_user}` are of the cast, the rest is made
up by `_MADE_UP`; one name is one value throughout a telling, and a number behind it (`{word2}`) asks for another. A telling of the
harmless strength is a hostile one with one relation undone: the other user, the own account, the approved place, the other order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schema import Category
from tasks.families.story import (
    ALL,
    EXPLORER,
    FIRM,
    SOFT,
    Actor,
    Family,
    FamilySplit,
    Platform,
    actor,
    other_account,
    other_host,
)
from tasks.scene import Explanation, Plan, Scene, Strength, TicketScope

AWS_AGENTS = ("aws-cli/2.15", "console.amazonaws.com", "Boto3/1.34")
_BLANK = re.compile(r"\{([a-z_]+)(\d*)\}")
_MADE_UP: dict[str, Callable[[Scene, Actor], str]] = {
    "word": lambda scene, who: scene.word(),
    "domain": lambda scene, who: scene.domain(),
    "address": lambda scene, who: scene.public_address(),
    "account": lambda scene, who: f"{scene.between(10**11, 10**12)}",
    "number": lambda scene, who: f"{scene.between(10, 9_000)}",
    "hex": lambda scene, who: f"{scene.between(0x10000000, 0xFFFFFFFF):08x}",
    "base32": lambda scene, who: scene.base32(24),
    "writable": lambda scene, who: scene.writable_path(who.user),
    "installed": lambda scene, who: scene.installed_path(),
    "host": lambda scene, who: who.host,
    "ip": lambda scene, who: who.ip,
    "user": lambda scene, who: who.user,
    "other_user": lambda scene, who: other_account(scene, who),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a telling with blanks, `after` seconds (a range) behind the one before it; the first of a telling ignores that.

    A field's value is text with blanks, a number, a tuple of which one is drawn, or a mapping that is written as compact JSON.
    `host` and `user` are the line's own; empty for a line without one.
    """

    event_type: str
    activity: str
    fields: Mapping[str, Any]
    after: tuple[int, int] = (5, 90)
    host: str = "{host}"
    user: str = "{user}"
    texts: Mapping[str, Any] = field(init=False)  # the fields as they are filled

    def __post_init__(self) -> None:
        texts = {
            name: json.dumps(value, separators=(",", ":")) if isinstance(value, Mapping) else value
            for name, value in self.fields.items()
        }
        object.__setattr__(self, "texts", texts)


Telling = Sequence[Row]


# ---------------------------------------------------------------- rows
def start(path: str, command: str = "", parent: str = EXPLORER, **more: Any) -> Row:
    """Describe the start of a program; without a command line, its path."""
    return Row(
        "process", "launch", {"process_path": path, "process_cmd_line": command or path, "parent_path": parent}, **more
    )


def call(
    service: str,
    operation: str,
    resources: Mapping[str, Any],
    source: str = "{address}",
    agent: Any = AWS_AGENTS,
    **more: Any,
) -> Row:
    """Describe a granted call to a control plane with its request; `more` are fields of the line."""
    return Row(
        "cloud_api",
        "call",
        {
            "src_ip": source,
            "api_service": service,
            "api_operation": operation,
            "user_agent": agent,
            "resources": resources,
            **more,
        },
    )


# ---------------------------------------------------------------- families
def made(
    name: str,
    technique: str,
    category: Category,
    rules: tuple[str, ...],
    work: str = "",
    *,
    below: Sequence[Telling],
    confirmed: Sequence[Telling] = (),
    suspicious: Sequence[Telling] = (),
    reaches: tuple[str, ...] = (),
    explanations: tuple[Explanation, ...] = ("ticket",),
    names_account: bool = True,
    platform: Platform = "windows",
    split: FamilySplit = "train",
) -> Family:
    """Make a family that plays one of some tellings for each strength.

    Args:
        rules: which rules of the verifier its hostile tellings meet, the one that it is for first.
        work: what a ticket has to name (a program's name or a kind of work); by default the program of a telling's first line that has one.
        below: tellings with one relation undone.
        reaches: as of `Family`.
    """
    tellings: dict[Strength, Sequence[Telling]] = {"confirmed": confirmed, "suspicious": suspicious, "below": below}

    def play(scene: Scene, plan: Plan) -> TicketScope:
        telling = scene.pick(tellings[plan.strength])
        tool = work or _program_of(telling)
        who = actor(scene, plan, tool)
        first, last = tell(scene, who, telling)
        return who.scope(tool, first, last)

    return Family(
        name,
        technique,
        category,
        play,
        reaches,
        ALL if confirmed and suspicious else FIRM if confirmed else SOFT,
        explanations,
        single=all(len(telling) == 1 for rows in (confirmed, suspicious) for telling in rows),
        names_account=names_account,
        rules=rules,
        platform=platform,
        split=split,
    )


def _program_of(telling: Telling) -> str:
    path = next((str(row.fields["process_path"]) for row in telling if "process_path" in row.fields), "")
    return path[max(path.rfind("\\"), path.rfind("/")) + 1 :].lower()


def tell(scene: Scene, who: Actor, telling: Telling, at: float | None = None) -> tuple[float, float]:
    """Write a telling's lines; return the times of the first and the last.

    Args:
        at: when it begins; by default a time at which all of it has room.
    """
    values: dict[str, str] = {}

    def fill(text: str) -> str:
        return _BLANK.sub(value_of, text) if "{" in text else text

    def value_of(blank: re.Match[str]) -> str:
        value = values.get(blank[0])
        if value is None:
            if blank[1] in ("other_host", "other_ip"):
                other = other_host(scene, who)
                values[f"{{other_host{blank[2]}}}"], values[f"{{other_ip{blank[2]}}}"] = other.host, other.ip
                return values[blank[0]]
            value = values[blank[0]] = _MADE_UP[blank[1]](scene, who)
        return value

    first = last = scene.moment(sum(row.after[1] for row in telling[1:])) if at is None else at
    for index, row in enumerate(telling):
        last += scene.between(*row.after) if index else 0
        fields = {}
        for name, value in row.texts.items():
            if isinstance(value, tuple):
                value = scene.pick(value)
            fields[name] = fill(value) if isinstance(value, str) else value
        scene.add(last, row.event_type, row.activity, fill(row.host), fill(row.user), **fields)
    return first, last
