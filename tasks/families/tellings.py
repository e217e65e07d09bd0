"""Make families from rows: a telling is a few lines with blanks, and a family has some tellings for each strength.

    made(
        "opened_bucket", "T1530", "collection", ("cloud-opened-to-world",), CLOUD_WORK,
        suspicious=[[call("s3.amazonaws.com", "PutBucketAcl", {"bucketName": "{word}", "x-amz-acl": ["public-read"]})]],
        below=[[call("s3.amazonaws.com", "PutBucketAcl", {"bucketName": "{word}", "x-amz-acl": ["private"]})]],
    )

A blank is a name in braces. `{host}`, `{ip}`, `{user}`, `{other_host}`, `{other_ip}` and `{other_user}` are of the cast, the rest is made
up by `_MADE_UP` (`{source}` is an address outside or the host's own, `{writable}` and `{installed}` are programs' paths, `{loose}` and
`{apps}` such programs' folders); one name is one value throughout a telling, and a number behind it (`{word2}`) asks for another. A
telling of the harmless strength is a hostile one with one relation undone: the other user, the own account, the approved place, the
other order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any, NamedTuple

from schema import CLOUD_WORK, Category
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import (
    ALL,
    EITHER,
    FIRM,
    GRAVE,
    HOST,
    SOFT,
    Actor,
    Explanation,
    Family,
    FamilySplit,
    Plan,
    Platform,
    Scene,
    Strength,
    TicketScope,
    actor,
    other_account,
    other_host,
)
from world import TOOL_NAMES

AWS_AGENTS = ("aws-cli/2.15", "console.amazonaws.com", "Boto3/1.34")
_SYSTEM_PROGRAMS = {"powershell.exe": POWERSHELL, "wmic.exe": SYSTEM32 + "wbem\\wmic.exe"}
_KUBE_AGENTS = ("kubectl/v1.29.4", "kubectl/v1.31.0", "Helm/3.15.2", "python-requests/2.32")
MAX_COUPLES = 48  # tellings of a pair in each strength, or somewhat more
_APPROVED = frozenset(TOOL_NAMES)
_SERVICE_ROLES = tuple(
    f"AWSServiceRoleFor{name}" for name in ("Organizations", "SSO", "Backup", "AutoScaling", "SecurityHub")
)
_CONTROLLERS = ("generic-garbage-collector", "namespace-controller", "deployment-controller", "cronjob-controller")
MEMBER, OTHER_MEMBER = "{user}@corp.example", "{other_user}@corp.example"  # of a tenant
_BLANK = re.compile(r"\{([a-z_]+)(\d*)\}")
_MADE_UP: dict[str, Callable[[Scene, Actor], str]] = {
    "word": lambda scene, who: scene.word(),
    "domain": lambda scene, who: scene.domain(),
    "address": lambda scene, who: scene.public_address(),
    "account": lambda scene, who: f"{scene.between(10**11, 10**12)}",
    "number": lambda scene, who: f"{scene.between(10, 9_000)}",
    "hex": lambda scene, who: f"{scene.between(0x10000000, 0xFFFFFFFF):08x}",
    "instance": lambda scene, who: f"i-0{scene.between(16**7, 16**8):08x}{scene.between(16**7, 16**8):08x}",
    "aws_agent": lambda scene, who: scene.pick(AWS_AGENTS),
    "service_role": lambda scene, who: scene.pick(_SERVICE_ROLES),
    "controller": lambda scene, who: scene.pick(_CONTROLLERS),
    "kube_agent": lambda scene, who: scene.pick(_KUBE_AGENTS),
    "token": lambda scene, who: scene.base32(24),
    "source": lambda scene, who: who.source or who.ip,
    "writable": lambda scene, who: scene.writable_path(who.user),
    "loose": lambda scene, who: _folder(scene.writable_path(who.user)),
    "installed": lambda scene, who: scene.installed_path(),
    "apps": lambda scene, who: _folder(scene.installed_path()),
    "host": lambda scene, who: who.host,
    "ip": lambda scene, who: who.ip,
    "user": lambda scene, who: who.user,
    "other_user": lambda scene, who: other_account(scene, who),
}


class _Text(NamedTuple):
    """A text read once: a %-template and the blanks that fill it, in order; without blanks, the value itself."""

    template: Any
    blanks: tuple[str, ...]

    def fill(self, scene: Scene, who: Actor, values: dict[str, str]) -> Any:
        """Fill the blanks: each with the value that it has had before, or a new one."""
        if not self.blanks:
            return self.template
        for blank in self.blanks:
            if blank not in values:
                _make_up(blank, scene, who, values)
        return self.template % tuple([values[blank] for blank in self.blanks])


def _text_of(value: Any) -> _Text:
    """Read a text with blanks, or anything else, which needs none."""
    return _read(value) if isinstance(value, str) and "{" in value else _Text(value, ())


@cache
def _read(text: str) -> _Text:
    blanks = tuple([blank[0] for blank in _BLANK.finditer(text)])
    return _Text(_BLANK.sub("%s", text.replace("%", "%%")) if blanks else text, blanks)


def _make_up(blank: str, scene: Scene, who: Actor, values: dict[str, str]) -> None:
    """Give a blank a value; a host has a name and an address together."""
    name, number = _BLANK.fullmatch(blank).groups()  # type: ignore[union-attr]
    if name in ("other_host", "other_ip"):
        other = other_host(scene, who)
        values[f"{{other_host{number}}}"], values[f"{{other_ip{number}}}"] = other.host, other.ip
    else:
        values[blank] = _MADE_UP[name](scene, who)


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
    blank: Mapping[str, Any] = field(init=False)  # the line's fields, those that are filled still without a value
    filled: tuple[tuple[str, bool, tuple[_Text, ...]], ...] = field(init=False)  # of these: is one of the texts drawn?

    def __post_init__(self) -> None:
        place = {name: text for name, text in (("device_hostname", self.host), ("actor_user", self.user)) if text}
        blank: dict[str, Any] = {"activity": self.activity, **place, **self.fields}
        filled = []
        for name, value in (*self.fields.items(), *place.items()):  # in which order chance is asked
            if isinstance(value, Mapping):
                value = json.dumps(value, separators=(",", ":"))
            texts = tuple(map(_text_of, value if isinstance(value, tuple) else (value,)))
            if isinstance(value, tuple) or texts[0].blanks:
                filled.append((name, isinstance(value, tuple), texts))
            else:
                blank[name] = value
        object.__setattr__(self, "blank", blank)
        object.__setattr__(self, "filled", tuple(filled))


Telling = Sequence[Row]


# ---------------------------------------------------------------- rows
def basename(path: str) -> str:
    """Return the file name of a path, in lower case."""
    return path[max(path.rfind("\\"), path.rfind("/")) + 1 :].lower()


def _folder(path: str) -> str:
    return path[: path.rfind("\\")]


def start(
    path: str, command: Any = "", parent: Any = EXPLORER, also: Mapping[str, Any] | None = None, **more: Any
) -> Row:
    """Describe the start of a program; without a command line, its path. `also` are further fields of the line."""
    fields = {"process_path": path, "process_cmd_line": command or path, "parent_path": parent, **(also or {})}
    return Row("process", "launch", fields, **more)


def order(program: str, *orders: str, parent: Any = EXPLORER, **more: Any) -> Row:
    """Describe the start of a program with one of some arguments; of Windows itself unless `program` is a path."""
    path = program if "\\" in program or "/" in program else _SYSTEM_PROGRAMS.get(program, SYSTEM32 + program)
    return start(path, tuple(f"{basename(path)} {text}" for text in orders), parent, **more)


def setting(key: Any, data: Any, program: str = SYSTEM32 + "reg.exe", activity: str = "set", **more: Any) -> Row:
    """Describe how a program sets a value of the registry."""
    fields = {"reg_key_path": key, "reg_value_data": data, "process_path": program}
    return Row("registry", activity, fields, **more)


def file(path: Any, program: Any, activity: str = "create", **more: Any) -> Row:
    """Describe how a program writes a file, or does something else to it."""
    return Row("file", activity, {"file_path": path, "process_path": program}, **more)


def service(command: str, activity: str = "install", **more: Any) -> Row:
    """Describe the installation of a service with its command line."""
    fields = {"service_name": "{word}", "service_cmd_line": command, "start_type": ("auto start", "demand start")}
    return Row("service", activity, fields, **more)


def task(command: str, name: str = "\\{word}", run_as: str = "{user}", activity: str = "create", **more: Any) -> Row:
    """Describe a change of a scheduled task."""
    return Row("task", activity, {"job_name": name, "job_cmd_line": command, "run_as": run_as}, **more)


def connect(program: str, port: Any = (443, 443, 443, 80), inside: bool = False, **more: Any) -> Row:
    """Describe a connection that a program opens, to an address outside or to another host of ours."""
    fields = {
        "src_ip": "{ip}",
        "dst_ip": "{other_ip}" if inside else "{address}",
        "dst_port": port,
        "direction": "lateral" if inside else "outbound",
        "process_path": program,
        "dst_scope": "internal" if inside else "external",
    }
    return Row("net_conn", "open", fields, **more)


def script(*texts: str, **more: Any) -> Row:
    """Describe a block of code that PowerShell runs: one of some texts."""
    return Row("script", "block", {"script_text": texts}, **more)


def control(activity: str, name: Any, value: Any, program: str = "", **more: Any) -> Row:
    """Describe a change of what protects or records, with the program that makes it where one is named."""
    fields = {"control_name": name, "new_value": value} | ({"process_path": program} if program else {})
    return Row("control_change", activity, fields, **more)


def call(
    service: str,
    operation: str | tuple[str, ...],
    resources: Mapping[str, Any],
    source: str = "{address}",
    agent: Any = AWS_AGENTS,
    *,
    user: str = "{user}",
    after: tuple[int, int] = (5, 90),
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
        after,
        user=user,
    )


# ---------------------------------------------------------------- calls to clouds
class Caller(NamedTuple):
    """Who makes a call: the account at work (empty where it is none of ours), the identity as the record gives it, its type."""

    user: str
    identity: str
    kind: str


_ARN = "arn:aws:iam::{account}:"
_SESSION = "arn:aws:sts::{account}:assumed-role/"
PERSON = Caller("{user}", _ARN + "user/{user}", "IAMUser")
ANOTHER = Caller("{other_user}", _ARN + "user/{other_user}", "IAMUser")
SESSION = Caller("{user}", _SESSION + "AWSReservedSSO_{word9}_{hex9}/{user}", "AssumedRole")
ROOT = Caller("root", _ARN + "root", "Root")
MACHINE = Caller("", _SESSION + "{word9}/{instance9}", "AssumedRole")
PIPELINE = Caller("", _SESSION + "{word9}/{word8}", "WebIdentityUser")
OWN_SERVICE = Caller("", _SESSION + "{service_role9}/{word9}", "AWSService")
TENANT = Caller("{user}@{domain9}", "{user}@{domain9}", "user")
GOOGLE_SERVICE = Caller("", "service-{account}@gcp-sa-logging.iam.gserviceaccount.com", "service")
MICROSOFT_SERVICE = Caller("", "Managed Service Identity", "app")
_BROWSERS = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5)")


def aws(
    service: str, operation: str | tuple[str, ...], request: Mapping[str, Any], by: Caller = PERSON, **more: Any
) -> Row:
    """Describe a call to a service of AWS in the account `{account}`; of several operations, one is drawn."""
    return _call(f"{service}.amazonaws.com", operation, request, by, **{"agent": "{aws_agent}", **more})


def google(
    service: str, operation: str | tuple[str, ...], request: Mapping[str, Any], by: Caller = TENANT, **more: Any
) -> Row:
    """Describe a call to a service of Google in the project `{account}`."""
    agent = ("google-cloud-sdk gcloud/471.0.0", "Terraform/1.8.2", *_BROWSERS)
    return _call(f"{service}.googleapis.com", operation, request, by, **{"agent": agent, **more})


def tenant(
    service: str, operation: str | tuple[str, ...], request: Mapping[str, Any], by: Caller = TENANT, **more: Any
) -> Row:
    """Describe a call to Azure, Entra or Okta in the tenant `{account}`."""
    return _call(service, operation, request, by, **{"agent": _BROWSERS, **more})


def _call(service: str, operation: str | tuple[str, ...], request: Mapping[str, Any], by: Caller, **more: Any) -> Row:
    caller = {"user": by.user, "user_uid": by.identity, "user_type": by.kind, "source": "{source}"}
    return call(service, operation, request, **{**caller, "cloud_account": "{account}", **more})


def policy(
    action: str | list[str],
    resource: str | None = None,
    principal: Any = None,
    condition: Mapping[str, Any] | None = None,
    effect: str = "Allow",
) -> dict[str, Any]:
    """Write a policy of AWS with one statement; parts that are None are left out."""
    parts = {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, "Condition": condition}
    statement = {name: part for name, part in parts.items() if part is not None}
    return {"Version": "2012-10-17", "Statement": [statement]}


def as_text(document: Mapping[str, Any]) -> str:
    """Write a policy as IAM's calls carry it: as text."""
    return json.dumps(document, separators=(",", ":"))


# ---------------------------------------------------------------- calls to clusters
USER = Caller("{user}", "{user}", "user")
ANOTHER_USER = Caller("{other_user}", "{other_user}", "user")
ANONYMOUS = Caller("", "system:anonymous", "user")
POD = Caller("", "system:serviceaccount:{word9}:{word7}", "service")  # a pod's account
OPERATOR = Caller("", "system:serviceaccount:{word9}:{word7}-controller", "service")
CLUSTER = Caller("", "system:serviceaccount:kube-system:{controller9}", "service")  # an own service
_API_GROUPS = {
    "deployments": "apps",
    "daemonsets": "apps",
    "statefulsets": "apps",
    "replicasets": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
    "clusterrolebindings": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
    "clusterroles": "rbac.authorization.k8s.io",
    "roles": "rbac.authorization.k8s.io",
    "mutatingwebhookconfigurations": "admissionregistration.k8s.io",
    "validatingwebhookconfigurations": "admissionregistration.k8s.io",
}


def kube(
    operation: str,
    body: Mapping[str, Any] | None = None,
    by: Caller = USER,
    *,
    namespace: str = "{word9}",
    name: str = "{word8}-{number8}",
    source: str = "",
    **more: Any,
) -> Row:
    """Describe a granted call to a cluster: `create pods/exec`, on a named thing of a namespace; empty for a thing without one.

    Args:
        body: the request's object.
        source: the caller's address; by default the host's for a controller, for others that or one outside.
        more: fields of the line, or as of `call`.
    """
    resource, _, subresource = operation.partition(" ")[2].partition("/")
    reference = {"resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    place = {key: value for key, value in {**reference, "apiGroup": _API_GROUPS.get(resource)}.items() if value}
    request = {"objectRef": place} | ({"requestObject": body} if body else {})
    names = {"user": by.user, "user_uid": by.identity, "user_type": by.kind}
    source = source or ("{ip}" if by in (OPERATOR, CLUSTER) else "{source}")
    return call("kubernetes", operation, request, source, **{"agent": "{kube_agent}", **names, **more})


def administration(
    service: str, operation: Any, request: Any, actor: str = MEMBER, kind: str = "user", user: Any = None, **more: Any
) -> Row:
    """Describe a granted call to a tenant's administration, in the shape that its audit records are imported in: without a host.

    Args:
        request: what is written as JSON.
        user: the account, where it is not the actor's name.
        more: further fields of the line.
    """
    fields = {
        "user_uid": actor,
        "user_type": kind,
        "api_service": service,
        "api_operation": operation,
        "resources": json.dumps(request, separators=(",", ":")),
    }
    return Row("cloud_api", "call", fields | more, host="", user=actor if user is None else user)


def exchange(operation: Any, actor: str = MEMBER, user: Any = None, **parameters: str) -> Row:
    """Describe an entry of the unified audit log on a command of Exchange Online."""
    pairs = [{"Name": name, "Value": value} for name, value in parameters.items()]
    return administration("Exchange", operation, {"ObjectId": "{word}", "Parameters": pairs}, actor, user=user)


# ---------------------------------------------------------------- families
def each(*rows: Row) -> list[Telling]:
    """Make a telling of each row."""
    return [[row] for row in rows]


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
    account: str = "",
    platform: Platform = "windows",
    split: FamilySplit = "train",
) -> Family:
    """Make a family that plays one of some tellings for each strength.

    Args:
        rules: which rules of the verifier its hostile tellings meet, the one that it is for first.
        work: what a ticket has to name (a program's name or a kind of work); by default the program of a telling's first line that has one
            (PowerShell for a script, the program of a service's or task's command, the file of a line that names no program).
        below: tellings with one relation undone.
        reaches: as of `Family`.
        account: whom a ticket has to name, where that is no account of the cast (with blanks of the telling).
    """
    tellings: dict[Strength, Sequence[Telling]] = {"confirmed": confirmed, "suspicious": suspicious, "below": below}
    versions = {strength: [_version(telling, work) for telling in rows] for strength, rows in tellings.items()}
    account_text = _text_of(account)

    def play(scene: Scene, plan: Plan) -> TicketScope:
        telling, tool_text, program, on_host = scene.pick(versions[plan.strength])
        who, values = actor(scene, plan, program), {}  # type: tuple[Actor, dict[str, str]]
        first, last = tell(scene, who, telling, values=values)
        tool, name = tool_text.fill(scene, who, values), account_text.fill(scene, who, values)
        scope = (who._replace(user=name) if name else who).scope(tool, first, last)
        if not on_host:
            scope.hosts = ()
        return scope

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
        names_host=any(row.host for rows in (confirmed, suspicious) for telling in rows for row in telling),
        rules=rules,
        platform=platform,
        split=split,
        most_lines=max(len(telling) for rows in tellings.values() for telling in rows),
        tellings=tellings,
    )


def _version(telling: Telling, work: str) -> tuple[Telling, _Text, str, bool]:
    """Return a telling with what a ticket has to name, the program for which an account is chosen, and whether a host is named."""
    tool = work or _program_of(telling)
    return telling, _text_of(tool), next(iter(approved(telling)), tool), any(row.host for row in telling)


def chained(
    name: str,
    technique: str,
    category: Category,
    rules: tuple[str, ...],
    steps: Sequence[tuple[Telling, Telling]],
    *,
    ending: tuple[Telling, Telling] = ((), ()),
    explanations: tuple[Explanation, ...] = (),
    **more: Any,
) -> Family:
    """Make a family of steps that are suspicious alone and bear each other out together.

    Args:
        steps: each step's lines, hostile and harmless. All are hostile in the confirmed strength, one in the suspicious, none in the harmless.
        ending: a last step, hostile in the confirmed strength alone, as one that needs no other to be confirmed.
        explanations: as of `made`; a ticket covers one program, so it explains steps only where all have that.
    """
    endings = [list(ending[1])]
    harmless: list[list[Row]] = [list(step[1]) for step in steps]
    one_hostile = [
        [*harmless[:index], list(step[0]), *harmless[index + 1 :], *endings] for index, step in enumerate(steps)
    ]
    return made(
        name,
        technique,
        category,
        rules,
        confirmed=[[*chain.from_iterable(step[0] for step in steps), *ending[0]]],
        suspicious=[[*chain.from_iterable(parts)] for parts in one_hostile],
        below=[[*chain.from_iterable([*harmless, *endings])]],
        explanations=explanations,
        **more,
    )


def administered(
    name: str,
    technique: str,
    category: Category,
    rule: str,
    hostile: Sequence[Row],
    harmless: Sequence[Row],
    confirmed: Sequence[Row] = (),
    account: str = "",
) -> Family:
    """Make a family of one rule on a tenant's administration, each telling one call."""
    return made(
        name,
        technique,
        category,
        (rule,),
        CLOUD_WORK,
        confirmed=each(*confirmed),
        suspicious=each(*hostile),
        below=each(*harmless),
        reaches=GRAVE if confirmed else (),
        account=account,
        platform="saas",
    )


def paired(first: Family, second: Family) -> Family:
    """Make a family of two suspicious families' tellings, one after the other on one host: alone they are watched, together acted on.

    In half of the story one of them is as harmless as it is told. No ticket explains both, since it covers one program.

    Args:
        first: a family made of rows, of a category that the second's lines can bear as well.
        second: another, of another technique.
    """

    def together(one: Strength, other: Strength) -> list[Telling]:
        couples: list[Telling] = [
            [*telling, *another]
            for telling in first.tellings[one]
            for another in second.tellings[other]
            if len(approved(telling) | approved(another)) <= 1  # an account may not use it; of two, it might one
            and _parents(telling).isdisjoint(row.fields.get("process_path") for row in another)  # which ran before
        ]
        return couples[:: max(1, len(couples) // MAX_COUPLES)]

    return made(
        f"{first.name}_{second.name}",
        first.technique,
        first.category,
        (*first.rules, *second.rules),
        confirmed=together("suspicious", "suspicious"),
        suspicious=[*together("suspicious", "below"), *together("below", "suspicious")],
        below=together("below", "below"),
        reaches=HOST,
        explanations=(),
    )


def _parents(telling: Telling) -> set[str]:
    """Return the programs that start others in a telling."""
    parents = [row.fields.get("parent_path", ()) for row in telling]
    return {path for paths in parents for path in ((paths,) if isinstance(paths, str) else paths)}


def approved(telling: Telling) -> set[str]:
    """Return the programs of a telling that some department may use."""
    return {_program_of([row]) for row in telling} & _APPROVED


def _program_of(telling: Telling) -> str:
    """Return the file name, perhaps with blanks, of the program that a telling's first line with one names."""
    for row in telling:
        if row.event_type == "script":
            return basename(POWERSHELL)
        path = row.fields.get("process_path") or row.fields.get("file_path")
        if isinstance(path, str):
            return basename(path)
        command = row.fields.get("service_cmd_line") or row.fields.get("job_cmd_line")
        if isinstance(command, str):
            return basename(_program_in(command))
    return ""


def _program_in(command: str) -> str:
    """Return the program of a command line; only a path with a drive may hold spaces."""
    program = command.partition(" /")[0].partition(" -")[0].strip('"')
    return program if program[1:2] == ":" else program.partition(" ")[0]


def tell(
    scene: Scene, who: Actor, telling: Telling, at: float | None = None, values: dict[str, str] | None = None
) -> tuple[float, float]:
    """Write a telling's lines; return the times of the first and the last.

    Args:
        at: when it begins; by default a time at which all of it has room.
        values: where to keep what the blanks are filled with, by blank.
    """
    values = {} if values is None else values
    first = last = scene.moment(sum([row.after[1] for row in telling[1:]])) if at is None else at
    for index, row in enumerate(telling):
        last += scene.between(*row.after) if index else 0
        fields = {**row.blank}
        for name, is_drawn, texts in row.filled:
            text = scene.pick(texts) if is_drawn else texts[0]
            fields[name] = text.fill(scene, who, values)
        scene.lines.append((int(last), {"event_type": row.event_type, "fields": fields}))
    return first, last


# ---------------------------------------------------------------- families of one platform
on_cloud = partial(made, work=CLOUD_WORK, platform="cloud")
on_cluster = partial(made, work=CLOUD_WORK, platform="kubernetes")
chain_on_cloud = partial(chained, work=CLOUD_WORK, reaches=EITHER, explanations=("ticket",), platform="cloud")
chain_on_cluster = partial(chained, work=CLOUD_WORK, reaches=EITHER, explanations=("ticket",), platform="kubernetes")
