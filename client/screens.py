"""Render the server's plain rows as tables and panels of `rich` for the terminal game.

This module neither asks nor sends. Every text of the server goes through `visible`, because log fields are written by
attackers: no markup and no escape sequence in them reaches the terminal. Marks are words, so they need no colour.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
MARKS = 3  # combining marks that one character keeps; more of them would paint over the lines around
LONGEST_VALUE = 120  # characters of one field in the log table; the key `s` shows all of them
SEVERITY_STYLES = {"low": "green", "medium": "yellow", "high": "red"}
ACTIONS = {
    "dismiss": "nothing to do: harmless, or explained by the context",
    "monitor": "suspicious and unexplained, or telemetry is missing: keep watching",
    "quarantine_host": "code or an implant runs on one host: cut it off",
    "block_ip": "a hostile outside address and no host taken over: block it",
    "escalate": "crown jewel, privileged account, several hosts or damage done: call the responders",
}
# The phrase of each event type. A piece whose field is absent is left out; a field that no piece names follows as
# `name=value`, so that nothing the server sent is lost.
PHRASES: dict[str, tuple[str, ...]] = {
    "process": ("{parent_path} > ", "{process_path}", " ran: {process_cmd_line}"),
    "process_access": ("{process_path}", " opened {target_path}", " with {access_mask}"),
    "process_inject": ("{process_path}", " into {target_path}"),
    "module_load": ("{process_path} loaded ", "{file_path}", " ({signature_state})"),
    "file": ("{process_path}: ", "{file_path}"),
    "registry": ("{process_path}: ", "{reg_key_path}", " = {reg_value_data}"),
    "net_conn": (
        "{process_path}: ",
        "{src_ip}",
        " > {dst_ip}",
        " port {dst_port}",
        " ({dst_scope})",
        ", {bytes_out} bytes out",
        ", {bytes_in} bytes in",
    ),
    "dns_query": ("{process_path}: ", "{query_hostname}", " = {answers}"),
    "http": ("{http_method} ", "{url}", " got {status_code}"),
    "logon": ("{user_name}", " from {src_ip}", ", type {logon_type}", ", {auth_protocol}"),
    "kerberos": ("{user_name}", " for {service_name}", " from {src_ip}"),
    "account": ("{user_name}", ": {attributes}"),
    "group": ("{user_name}", " in {group_name}"),
    "service": ("{service_name}", ": {service_cmd_line}", ", as {run_as}"),
    "task": ("{job_name}", ": {job_cmd_line}", ", as {run_as}"),
    "share": ("{share_name}", " {file_path}", " from {src_ip}"),
    "script": ("{script_text}",),
    "cloud_api": ("{api_service}", " {api_operation}", " by {user_uid}", " from {src_ip}"),
}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TABLE: dict[str, Any] = {
    "box": box.SIMPLE_HEAD,
    "show_edge": False,
    "padding": (0, 1, 0, 0),
}


# ---------------------------------------------------------------- text
def visible(value: Any) -> str:
    """Render a value as text that hides nothing: control and direction characters and heaps of combining marks are escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(visible(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(name)}={visible(item)}" for name, item in value.items())
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    chars, marks = [], 0
    for char in text:
        category = unicodedata.category(char)
        if category in ("Mn", "Me"):
            marks += 1
        elif category != "Mc":  # a spacing mark belongs to the same character
            marks = 0
        chars.append(_escape(char) if category[0] == "C" or marks > MARKS else char)
    return "".join(chars)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _lines(text: str) -> str:
    """Make each line of a text visible."""
    return "\n".join(visible(line) for line in text.splitlines())


def _shorten(value: Any) -> str:
    text = visible(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _cell(value: Any) -> str:
    """Render a value for a table; a timestamp may break between day and time."""
    text = visible(value)
    return text.replace("T", " ").removesuffix("Z") if _TIMESTAMP.fullmatch(text) else text


def _pairs(rows: Row) -> Table:
    """Make two columns of names and values."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(Text(visible(name)), value if isinstance(value, Text) else Text(visible(value)))
    return grid


def _with_title(title: str, table: Table) -> Group:
    return Group(Text(), Text(title, style="bold"), table)


def _rows_table(name: str, rows: Sequence[Row]) -> Group:
    """Make a table with a column for every key that some row has."""
    table = Table(**_TABLE)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(Text(visible(column).replace("_", " ")), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return _with_title(visible(name).capitalize(), table)


# ---------------------------------------------------------------- the log
def summary(event: Row) -> Text:
    """Render an event as a readable line: host and account, the phrase of its type, then every remaining field."""
    fields = {name: _shorten(value) for name, value in event.get("fields", {}).items() if name != "activity"}
    location = " ".join(fields.pop(name) for name in ("device_hostname", "actor_user") if name in fields)
    phrase = "".join(_fill(piece, fields) for piece in PHRASES.get(event.get("event_type", ""), ()))
    remainder = " ".join(f"{visible(name)}={value}" for name, value in fields.items())
    parts = [Text(location, style="cyan"), Text(phrase.strip(), style="bold"), Text(remainder, style="dim")]
    return Text("  ").join(part for part in parts if part.plain)


def _fill(piece: str, fields: dict[str, str]) -> str:
    """Fill a piece with its field, and take that out of `fields`; empty if the field is absent."""
    before, name, after = re.split(r"{(\w+)}", piece)
    value = fields.pop(name, "")
    return f"{before}{value}{after}" if value else ""


def log_table(events: Sequence[Row], marks: Mapping[str, str], *, dim_unmarked: bool = False) -> Group:
    """Make a table of the window.

    Args:
        events: rows as the server sent them.
        marks: a word for some of the log ids, such as `alert`, `cited` or `evidence`.
        dim_unmarked: dim the other lines.
    """
    days = sorted({visible(event.get("timestamp"))[:10] for event in events})
    table = Table(**_TABLE)
    table.add_column("time", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("type", overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    for event in events:
        mark = marks.get(visible(event.get("log_id")), "")
        table.add_row(*_log_row(event, mark), style="dim" if dim_unmarked and not mark else "")
    return _with_title(f"Log window, {' to '.join(dict.fromkeys([days[0], days[-1]]))} UTC", table)


def _log_row(event: Row, mark: str) -> tuple[Text, Text, Text, Text]:
    kind = [visible(event.get("event_type")), visible(event.get("fields", {}).get("activity"))]
    return (
        Text(visible(event.get("timestamp"))[11:19]),
        Text("\n".join(filter(None, [visible(event.get("log_id")), mark])), style="bold yellow" if mark else "bold"),
        Text("\n".join(filter(None, kind))),
        summary(event),
    )


def event_panel(event: Row) -> Panel:
    """Make a panel of one event with every field in full."""
    rows = {"time": event.get("timestamp"), "type": event.get("event_type"), **event.get("fields", {})}
    return Panel(_pairs(rows), title=Text(visible(event.get("log_id"))), title_align="left")


# ---------------------------------------------------------------- the observation
def _alert_panel(alert: Row) -> Panel:
    """Make a panel of the alert that the SIEM raised, and of the reporter's narrative."""
    severity, log_id = visible(alert.get("severity")), visible(alert.get("log_id"))
    body = Text.assemble(
        (visible(alert.get("title")), "bold"),
        f"\nSeverity {severity}, fired on {log_id}. The title says what fired, not what is true.",
    )
    if alert.get("narrative"):
        body.append(f"\nReporter, unverified: {visible(alert['narrative'])}", style="italic")
    return Panel(body, title="Alert", title_align="left", border_style=SEVERITY_STYLES.get(severity, "yellow"))


def context_tables(context: Mapping[str, Any]) -> RenderableType:
    """Make a table for each kind of row that the organisation knows about the window."""
    parts: list[RenderableType] = []
    for name, rows in context.items():
        if rows and isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
            parts.append(_rows_table(name, rows))
        elif rows:
            parts.append(Text.assemble((visible(name).capitalize(), "bold"), f"  {visible(rows)}"))
    return Group(*parts) if parts else Text("Nothing in the records touches this window.", style="dim")


def observation_screen(observation: Row) -> Group:
    """Make the defender's screen without the playbook; context comes first, so that the alert and the log stay in sight."""
    alert, events = observation.get("alert") or {}, observation.get("log_window") or []
    parts: list[RenderableType] = [context_tables(observation.get("context") or {}), Text(), _alert_panel(alert)]
    if events:
        parts.append(log_table(events, {visible(alert.get("log_id")): "alert"}))
    return Group(*parts)


def attacker_screen(observation: Row) -> Group:
    """Make the attacker's screen: the whole organisation, and the instructions."""
    return Group(context_tables(observation.get("context") or {}), Text(), instructions(observation))


def instructions(observation: Row) -> Text:
    """Render the environment's instructions, written for people and models alike."""
    return Text(_lines(observation.get("instructions") or ""))


def playbook_panel(observation: Row) -> RenderableType:
    """Make a panel of the rules that decide, as the environment publishes them."""
    text = _lines(observation.get("playbook") or "")
    if not text:
        return Text("The server sent no playbook.", style="dim")
    return Panel(Markdown(text, hyperlinks=False), title="Playbook", title_align="left")


def action_help() -> Table:
    """Make a table of the five actions with their numbers."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for number, (action, meaning) in enumerate(ACTIONS.items(), start=1):
        grid.add_row(str(number), action, meaning)
    return grid


# ---------------------------------------------------------------- the grade
def grade_screen(grade: Row, observation: Row) -> Group:
    """Make the screen of the grade, the verdict last so that it stays in sight.

    Args:
        grade: what the server's `/grade` says.
        observation: the defender's, for its log window; it may have none.
    """
    truth, events = grade.get("ground_truth") or {}, observation.get("log_window") or []
    parts: list[RenderableType] = []
    if events:
        parts += [log_table(events, _grade_marks(grade, truth), dim_unmarked=True)]
    if truth.get("findings"):
        parts += [_rows_table("findings", truth["findings"])]
    if truth:
        parts += [Text(), _truth_panel(truth)]
    return Group(*parts, _reward_table(grade), Text(), _verdict(grade, truth))


def _grade_marks(grade: Row, truth: Row) -> dict[str, str]:
    """Mark lines by log id as `evidence`, `cited` or both."""
    marks = {visible(log_id): "evidence" for log_id in truth.get("evidence_log_ids") or ()}
    cited = visible(grade.get("cited_log_id"))
    if cited:
        marks[cited] = f"{marks[cited]}\ncited" if cited in marks else "cited"
    return marks


def _truth_panel(truth: Row) -> Panel:
    rows = {
        "action": truth.get("action"),
        "evidence": truth.get("evidence_log_ids") or "none",
        "techniques": truth.get("techniques") or "none",
        "rules": truth.get("rule_ids") or "none",
        "why": Text(_lines(truth.get("explanation") or "")),
    }
    return Panel(_pairs(rows), title="Ground truth", title_align="left")


def _reward_table(grade: Row) -> Group:
    table = Table(**_TABLE)
    table.add_column("component", overflow="fold")
    table.add_column("points", justify="right")
    for name, value in (grade.get("components") or {}).items():
        table.add_row(Text(visible(name).replace("_", " ")), _points(value), style="" if value else "dim")
    table.add_section()
    for player, value in (grade.get("rewards") or {}).items():
        if value is not None:
            table.add_row(Text(f"total, {visible(player)}"), _points(value), style="bold")
    return _with_title(f"Reward by the table {visible(grade.get('reward_table'))!r}", table)


def _points(value: Any) -> Text:
    """Render a number with its sign; a dash for a component that was not scored."""
    return Text("-" if value is None else f"{value:+.2f}" if isinstance(value, (int, float)) else visible(value))


def _verdict(grade: Row, truth: Row) -> Panel:
    answer, right = grade.get("action"), truth.get("action")
    if answer is None:
        head, style = "No triage was judged.", "yellow"
    elif answer == right:
        head, style = f"Correct: {visible(answer)}.", "green"
    else:
        head, style = f"Wrong: the answer was {visible(answer)}, and {visible(right)} was right.", "red"
    sentences = [
        grade.get("feedback"),
        *(f"Not plausible: {visible(reason)}" for reason in grade.get("plausibility") or ()),
    ]
    body = Text("\n").join([Text(head, style=f"bold {style}"), *(Text(visible(line)) for line in sentences if line)])
    return Panel(body, title="Grade", title_align="left", border_style=style)


def print_error(console: Console, message: str) -> None:
    """Print a sentence in red; the server's text stays as it is, without markup."""
    console.print(Text(_lines(message), style="red"))
