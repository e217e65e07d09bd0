"""Tables as text: CSV by comma, semicolon, tab or bar, Zeek's tab-separated logs, and logs that name their `#Fields:` (W3C).

The files of AWS's flow logs are tables by space. Sources: RFC 4180; AWS, "Flow log records"; Zeek documentation, "Log Files: Zeek TSV Format Logs"; W3C, "Extended Log File Format". A header's ` [UTC]` and
` [Local Time]`, as Azure's portals write them, are taken off; an offset, as in ` [UTC+01:00]`, goes to the times below it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from telemetry.importers.events import Skipped

Row = Mapping[str, Any]
LONGEST_CELL = 4_000_000  # characters
PREAMBLE = 12  # lines before a header: a report's title, Excel's `sep=;`
EVENT_VIEWER = (
    "Date and Time",
    "Source",
    "Event ID",
    "Task Category",
)  # after it a column that Event Viewer does not name
_COLUMNS_OF_EVENT_VIEWER = {  # in the languages of Windows, and in English
    **dict.fromkeys(("Ebene", "Niveau", "Nivel", "Livello", "Nível", "Poziom"), "Level"),
    **dict.fromkeys(
        ("Schlüsselwörter", "Mots clés", "Palabras clave", "Parole chiave", "Palavras-chave", "Trefwoorden"), "Keywords"
    ),
    **dict.fromkeys(
        (
            *("Datum und Uhrzeit", "Date et heure", "Fecha y hora", "Data e ora", "Data e Hora", "Datum en tijd"),
            "Data i godzina",
        ),
        "Date and Time",
    ),
    **dict.fromkeys(("Quelle", "Origen", "Origine", "Fonte", "Bron", "Źródło"), "Source"),
    **dict.fromkeys(
        (
            *(
                "Ereignis-ID",
                "ID de l\u2019événement",
                "ID de l'événement",
                "Id. del evento",
                "Id. de evento",
                "ID evento",
            ),
            *("Identificação do Evento", "Gebeurtenis-id", "Gebeurtenis-ID", "Identyfikator zdarzenia"),
        ),
        "Event ID",
    ),
    **dict.fromkeys(
        (
            *("Aufgabenkategorie", "Catégorie de la tâche", "Categoría de la tarea", "Categoria attività"),
            *("Categoria da Tarefa", "Taakcategorie", "Kategoria zadania"),
        ),
        "Task Category",
    ),
}
DELIMITERS = (",", ";", "\t", "|")
LONG_ROW = "a row with more cells than its table's header"
HEADER_AGAIN = "a table's header again"
BAD_ROW = "a row of a table that cannot be read"
_NAME = re.compile(r"[A-Za-z_@#$][^\n:={}<>\"]{0,119}$")
_FLOW_HEADER = re.compile(r"(?=.*\bsrcaddr\b)(?=.*\bdstaddr\b)[a-z0-9-]+(?: [a-z0-9-]+)+\s*$")
_SUFFIX = re.compile(r"\s*(?:\[(?:UTC|Local Time)\]|[\[(]UTC ?(?P<offset>[+-]\d{1,2}(?::?\d\d)?)[\])])$", re.IGNORECASE)


class Header(NamedTuple):
    """A table's column names and delimiter."""

    names: tuple[str, ...]
    delimiter: str


def header_of(head: str, *, is_table: bool) -> Header | None:
    """Find the header of a CSV table in a file's first lines; None where they are no table.

    Args:
        head: the file's beginning.
        is_table: whether the file's name says that it is one: then any two names are a header, and one column is enough.
    """
    lines = head.split("\n", PREAMBLE + 2)[: PREAMBLE + 2]
    if _FLOW_HEADER.match(lines[0]):
        return Header(tuple(lines[0].split()), " ")
    for number, line in enumerate(lines[: PREAMBLE if is_table else 1]):
        for delimiter in sorted(DELIMITERS, key=lambda mark: -line.count(mark)):
            names = _names(line, delimiter)
            if len(names) > 1 and (is_table or _has_rows(names, lines[number + 1 :], delimiter)):
                return Header(names, delimiter)
    names = _names(lines[0], ",") if is_table else ()
    return Header(names, ",") if names else None


def _names(line: str, delimiter: str) -> tuple[str, ...]:
    """Return the names that a header line holds; none if it is no header."""
    cells = _names_of(_cells(line, delimiter))
    if not cells or not all(_NAME.match(cell) for cell in cells) or len(set(cells)) < len(cells):
        return ()
    return cells


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []


def _has_rows(names: tuple[str, ...], lines: list[str], delimiter: str) -> bool:
    """Return whether a header without a file's word for it has at least three columns and a first row that fits."""
    row = next((line for line in lines if line.strip()), "")
    cells = _cells(row, delimiter)
    return (
        len(names) >= 3
        and (len(cells) >= len(names) - 1 or row.count('"') % 2 == 1)
        and not all(_NAME.match(cell) for cell in cells)
    )


def csv_rows(lines: Iterable[str], header: Header) -> Iterator[Row | Skipped]:
    """Yield the rows of a table whose header was found; empty cells are left out."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader((line.replace("\0", "") for line in lines), delimiter=header.delimiter)
    offsets: dict[str, str] = {}  # of the columns whose name says one
    is_begun = False
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Skipped(BAD_ROW)
            continue
        if not is_begun:
            is_begun = _names_of(cells) == header.names
            offsets = _offsets_of(header.names, cells) if is_begun else {}
            continue
        if not any(cells):
            continue
        if _names_of(cells) == header.names:
            yield Skipped(HEADER_AGAIN)
        elif any(cells[len(header.names) :]):
            yield Skipped(LONG_ROW)
        else:
            row = {name: cell for name, cell in zip(header.names, cells, strict=False) if cell}
            for name in offsets.keys() & row.keys():
                row[name] += f" UTC{offsets[name]}"
            yield row


def _offsets_of(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return the hours before or behind UTC that a header gives for columns of times, as `TimeGenerated [UTC+01:00]` does."""
    found = zip(names, (_SUFFIX.search(cell.strip()) for cell in cells), strict=False)
    return {name: match["offset"] for name, match in found if match and match["offset"]}


def _names_of(cells: list[str]) -> tuple[str, ...]:
    names = [_SUFFIX.sub("", cell.strip()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    if "Event ID" not in names:
        english = [_COLUMNS_OF_EVENT_VIEWER.get(name, name) for name in names]
        names = english if "Event ID" in english else names
    if tuple(names[1:]) == EVENT_VIEWER:
        names.append("Message")
    return tuple(names)


class TaggedTable:
    """A table whose lines of `#` name its columns: Zeek's logs and those of W3C's form."""

    def __init__(self) -> None:
        self.separator = "\t"
        self.names: tuple[str, ...] = ()
        self.unset, self.empty, self.set_separator = "-", "(empty)", ","
        self.lists: frozenset[str] = frozenset()
        self.path = ""

    def tag(self, line: str) -> bool:
        """Take a line of `#`; return whether it says something of a table."""
        name, _, rest = line.rstrip("\r\n").replace("\t", " ", 1).partition(" ")
        name = name if name == "#separator" else name.partition(self.separator)[0]
        if name == "#separator":
            self.__init__()  # type: ignore[misc]
            self.separator = _unescaped(rest.strip())
            return True
        if name == "#Fields:":
            self.separator, self.names, self.path = " ", tuple(rest.split()), ""
            return True
        if name in (
            "#Software:",
            "#Version:",
            "#Date:",
            "#Start-Date:",
            "#End-Date:",
            "#Remark:",
            "#Time",
            "#open",
            "#close",
        ):
            return True
        values = line.rstrip("\r\n").split(self.separator)[1:]
        if name == "#fields":
            self.names = tuple(values)
        elif name == "#types":
            self.lists = frozenset(
                n for n, kind in zip(self.names, values, strict=False) if kind.startswith(("set[", "vector["))
            )
        elif name in ("#path", "#unset_field", "#empty_field", "#set_separator") and values:
            setattr(
                self,
                {"#path": "path", "#unset_field": "unset", "#empty_field": "empty"}.get(name, "set_separator"),
                values[0],
            )
        else:
            return name.startswith("#") and name in ("#path", "#unset_field", "#empty_field", "#set_separator")
        return True

    def row(self, line: str) -> Row | None:
        """Return a line as a record by column names; None if it has not as many cells as there are names."""
        text = line.rstrip("\r\n")
        cells = text.split(self.separator) if self.separator != " " else _spaced(text)
        if len(cells) != len(self.names):
            return None
        row: dict[str, Any] = {"_path": self.path} if self.path else {}
        for name, cell in zip(self.names, cells, strict=True):
            if cell != self.unset and cell != "":
                row[name] = "" if cell == self.empty else cell.split(self.set_separator) if name in self.lists else cell
        return row


def _unescaped(text: str) -> str:
    r"""Return the character that `\x09` writes; a tab for anything that is none."""
    match = re.fullmatch(r"\\x([0-9A-Fa-f]{2})", text)
    return chr(int(match[1], 16)) if match else text[:1] or "\t"


def _spaced(text: str) -> list[str]:
    """Split at spaces outside quotes."""
    return [cell.strip('"') for cell in re.findall(r'"[^"]*"|\S+', text)]
