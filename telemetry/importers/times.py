"""Read the times of raw records, in every form that sensors and exports write them; a time that is not understood is none.

`read_time` reads one value. Two things are known only from a whole file: whether 03/04/2027 is a day of March or of April,
and in which year a syslog line falls that names none. Such a time is an `UnsettledTime` until `settle_times` has seen all of
the file's times. Sources: ISO 8601; RFC 3339; RFC 3164 (no year); MS-DTYP 2.3.3 (FILETIME); Microsoft, "System.Text.Json"
(`/Date(ms)/`); DMTF DSP0004 (CIM datetime); what is left goes to `dateutil`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from dateutil import parser as dateutil_parser

Order = Literal["month first", "day first", "either", "no year"]
TIME_OUTSIDE = "_time"  # the time that Splunk and shippers give a record whose text is in it
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # FILETIME zero (the year 1601) and other unset clocks lie before it
LEAP_YEAR = 1992  # stands for the year that classic syslog leaves out; it has a 29 February
HALF_YEAR = timedelta(days=183)
_UNIX_OF_FILETIME_S = 11_644_473_600  # seconds from 1601 to 1970
_LARGEST_S, _LARGEST_MS, _LARGEST_US, _LARGEST_FILETIME = 1e11, 1e14, 1e16, 5e17  # above the last: nanoseconds
_SPREADSHEET = (
    36_526,
    73_050,
)  # days since 1900 from 2000 to 2099: spreadsheets' dates, or seconds of a capture; none says which
_LONGEST = 80  # characters; no form of a time is longer


class UnsettledTime(datetime):
    """A time whose date the text leaves open; `order` says in which way. `either` is read month first; `swapped`, day first."""

    order: Order
    swapped: datetime | None


# ---------------------------------------------------------------- one value
def read_time(value: object) -> datetime | None:
    """Return the point in time that a record's value says, in UTC; None where it says none.

    Args:
        value: text, a number (seconds, milliseconds, microseconds or nanoseconds since 1970, by its size; or a FILETIME), or
            an object that holds one of these, as PowerShell's ConvertTo-Json writes dates.

    A date before 1990 is an unset clock, and none. Seconds may be few: traffic read from a capture file often counts
    from the capture's start. What may as well be the day number of a spreadsheet is none.
    """
    if isinstance(value, str):
        return _text_time(value.strip()) if len(value) <= _LONGEST else None
    if isinstance(value, Mapping):
        return next((moment for name in _HOLDERS if (moment := read_time(value.get(name)))), None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _epoch_time(float(value))
    return None


_MARKS = re.compile("[\u200e\u200f\u202a-\u202e]")  # of direction, which Windows' dialogs write between a date's parts
_HOLDERS = ("#text", "value", "DateTime", "SystemTime", "@SystemTime", "$date", "$numberLong")
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?\s*(Z|z|UTC|GMT|[ECMP][SD]T|CES?T|[+-]\d\d(?::?\d\d)?)?$",
    re.ASCII,
)
_ZONES = {  # hours ahead of UTC: RFC 2822 4.3 names those of America; Central Europe's are as clear
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "CET": 1,
    "CEST": 2,
}
_MICROSOFT = re.compile(r"\\?/Date\((-?\d+)(?:[+-]\d{4})?\)\\?/$", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?$", re.ASCII)
_DMTF = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\.(\d{6})([+-]\d{3})$", re.ASCII)  # WMI: minutes of offset
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE]\+?\d+)?$", re.ASCII)
_SYSLOG = re.compile(r"([A-Za-z]{3})\s+(\d{1,2})\s+(\d\d):(\d\d):(\d\d)(?:\.(\d+))?$", re.ASCII)
_NUMERIC = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d),?[T ]+(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*([AaPp]\.?[Mm]\.?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$",
    re.ASCII,
)
_HABITS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s*\[[A-Za-z]+(?:/\w+){0,2}\]$"), ""),  # Java's ZonedDateTime names the region behind the offset
    (re.compile(r" m=[+-][\d.]+$"), ""),  # Go's time, and its monotonic clock
    (re.compile(r"(?<=[+-]\d{4}) [A-Z]{2,5}$"), ""),
    (re.compile(r"\s*\((UTC|GMT)\)$"), r" \1"),
    (re.compile(r"(?<=\d)\s*(?:UTC|GMT)\s?([+-])(\d)$"), r" \g<1>0\2:00"),  # UTC+1; dateutil turns its sign
    (re.compile(r"(?<=\d)\s*(?:UTC|GMT)\s?([+-]\d\d):?(\d\d)?$"), r" \1\2"),
    (re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日"), r"\1-\2-\3"),
    (re.compile(r"(\d{1,2})\. ?(\d{1,2})\. (\d{4})"), r"\1.\2.\3"),  # Czech
    (re.compile(r"^(\d{4})\. (\d{1,2})\. (\d{1,2})\."), r"\1-\2-\3"),  # Hungarian and Korean
    (re.compile(r"(?<=\d) (?:오전|上午|午前) ?(\d\S*)"), r" \1 AM"),
    (re.compile(r"(?<=\d) (?:오후|下午|午後) ?(\d\S*)"), r" \1 PM"),
    (re.compile(r"(?<=\d)\s([ap])\.\s?m\.$"), r" \1m"),  # Spanish
    (re.compile(r"^(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}),? (\d{1,2})\.(\d\d)(?:\.(\d\d))?$"), r"\1 \2:\3:\4"),
    (re.compile(r"(?<=\d):$"), ""),  # of a clock by dots that has no seconds
    (re.compile(r"(?<=[\w.]) de (?=\w)"), " "),
    (re.compile(r"(?<=\d{9}),(?=\d{1,9}$)"), "."),  # seconds with a decimal comma
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _text_time(text: str) -> datetime | None:
    if text[4:5] == text[7:8] == "-" and text[10:11] in ("T", " "):
        try:  # nearly all times of nearly all exports, quickly
            written = datetime.fromisoformat(text)
            utc = written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            return utc if utc >= EARLIEST else None
    text = _MARKS.sub("", text)
    for pattern, make in _FORMS:
        match = pattern.match(text)
        if match:
            try:
                moment = make(match)
            except (ValueError, OverflowError, OSError):
                return None
            is_counted = pattern is _NUMBER
            return moment if moment is None or is_counted or moment >= EARLIEST else None
    tidy = _tidied(text)
    return _text_time(tidy) if tidy != text else _written_time(text)


def _tidied(text: str) -> str:
    """Return a time without what languages and programs add to it, its parts in the usual order; a tidy one as it is."""
    for pattern, new in _HABITS:
        text = pattern.sub(new, text)
    weekday, _, rest = text.partition(" ")
    is_weekday = weekday.rstrip(",.").isalpha() and rest[:1].isdigit() and _NAMES.month(weekday.rstrip(",.")) is None
    return rest if is_weekday else text


def _epoch_time(number: float) -> datetime | None:
    if _SPREADSHEET[0] <= number < _SPREADSHEET[1]:
        return None
    if number < _LARGEST_S:
        seconds = max(number, 0.0)
    elif number < _LARGEST_MS:
        seconds = number / 1e3
    elif number < _LARGEST_US:
        seconds = number / 1e6
    elif number < _LARGEST_FILETIME:
        seconds = number / 1e7 - _UNIX_OF_FILETIME_S
    else:
        seconds = number / 1e9
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso_time(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    return datetime(year, month, day, hour, minute, min(second, 59), _micros(match[7]), UTC) - _offset(match[8])


def _dmtf_time(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    ahead = timedelta(minutes=int(match[8]))
    return datetime(year, month, day, hour, minute, min(second, 59), int(match[7]), UTC) - ahead


def _micros(fraction: str | None) -> int:
    return int((fraction or "0").ljust(6, "0")[:6])


def _offset(zone: str | None) -> timedelta:
    """Return how far a zone's clocks are ahead of UTC; text without a zone is UTC."""
    if not zone or zone[0] not in "+-":
        return timedelta(hours=_ZONES.get(zone or "", 0))
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].lstrip(":") or 0))
    return -ahead if zone[0] == "-" else ahead


def _numeric_time(match: re.Match[str]) -> datetime:
    """Read a date in numbers: with dots day first (DIN 5008), else by whichever number can be a month."""
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    hour, minute = int(match[5]), int(match[6])
    if match[9]:
        hour = hour % 12 + (12 if match[9][0] in "Pp" else 0)
    clock = (hour, minute, min(int(match[7] or 0), 59), _micros(match[8]), UTC)
    year, offset = year + 2000 if year < 100 else year, _offset(match[10])
    if match[2] == "." or first > 12:
        return _unsettled(datetime(year, second, first, *clock) - offset, "day first")
    moment = datetime(year, first, second, *clock) - offset
    if second > 12:
        return _unsettled(moment, "month first")
    return _unsettled(moment, "either", datetime(year, second, first, *clock) - offset)


def _unsettled(moment: datetime, order: Order, swapped: datetime | None = None) -> UnsettledTime:
    unsettled = UnsettledTime(*moment.timetuple()[:6], moment.microsecond, UTC)
    unsettled.order, unsettled.swapped = order, swapped
    return unsettled


def _yearless_time(match: re.Match[str]) -> datetime | None:
    if match[1].lower() not in _MONTHS:
        return None
    month, day, hour, minute, second = _MONTHS.index(match[1].lower()) + 1, *(int(match[part]) for part in (2, 3, 4, 5))
    moment = datetime(LEAP_YEAR, month, day, hour, minute, min(second, 59), _micros(match[6]), UTC)
    return _unsettled(moment, "no year")


@lru_cache(maxsize=4096)
def _written_time(text: str) -> datetime | None:
    """Read what `dateutil` can, where day, month and year are all written: months by name, weekdays, zones."""
    if not re.search(r"\d{4}|-[A-Za-z]{3}-\d\d ", text) or not re.search(r"\d[:.]\d\d", text):
        return None
    apache = re.sub(r"^(\d\d)/([A-Za-z]{3})/(\d{4}):", r"\1 \2 \3 ", text)
    apache = re.sub(r" @ |, (?=\d\d?:)", " ", apache)  # Kibana: "May 6, 2031 @ 14:00:00.000"
    apache = re.sub(r"\s*\(UTC([+-]\d\d:?\d\d)\)$", r" \1", apache)  # AWS's console: "(UTC+02:00)"
    apache = re.sub(r" GMT([+-]\d{4}) \([\w ]+\)$", r" \1", apache)  # JavaScript's Date
    apache = re.sub(r" (\d\d?)\.(\d\d)\.(\d\d)(?=[. ]|$)", r" \1:\2:\3", apache)  # Oracle, and Nordic clocks
    try:
        moments = {dateutil_parser.parse(apache, _NAMES, default=default, tzinfos=_zone_of) for default in _DEFAULTS}
    except (ValueError, OverflowError, TypeError):
        return None
    if len(moments) > 1:
        return None  # a part of the date was filled in
    moment = _in_utc(moments.pop())
    if moment < EARLIEST:
        return None
    numbers = re.match(r"(\d{1,2})([./-])(\d{1,2})\2\d", apache)
    if not numbers:
        return moment
    if int(numbers[1]) > 12 or int(numbers[3]) > 12:
        return _unsettled(moment, "day first" if int(numbers[1]) > 12 else "month first")
    other = dateutil_parser.parse(apache, _NAMES, default=_DEFAULTS[0], tzinfos=_zone_of, dayfirst=True)
    return _unsettled(moment, "either", _in_utc(other))


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _zone_of(name: str | None, offset_s: int | None) -> int | None:
    """Return a zone's offset; a name that says none (CST is three zones) makes the time one that is not understood."""
    if name in ("CET", "CEST"):
        return _ZONES[name] * 3600
    if name and offset_s is None:
        raise ValueError(f"expected an offset, got the zone {name!r}")
    return offset_s


class _Names(dateutil_parser.parserinfo):
    """Months' names in English, German, French and Spanish."""

    MONTHS = [  # noqa: RUF012  as dateutil declares it
        ("jan", "january", "januar", "janvier", "enero"),
        ("feb", "february", "februar", "février", "febrero"),
        ("mar", "march", "märz", "mars", "marzo"),
        ("apr", "april", "avril", "abril"),
        ("may", "mai", "mayo"),
        ("jun", "june", "juni", "juin", "junio"),
        ("jul", "july", "juli", "juillet", "julio"),
        ("aug", "august", "août", "agosto"),
        ("sep", "sept", "september", "septembre", "septiembre"),
        ("oct", "october", "okt", "oktober", "octobre", "octubre"),
        ("nov", "november", "novembre", "noviembre"),
        ("dec", "december", "dez", "dezember", "décembre", "diciembre"),
    ]


_NAMES = _Names()
_DEFAULTS = (datetime(2001, 1, 1), datetime(2002, 2, 2))
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], datetime | None]], ...] = (
    (_ISO, _iso_time),
    (_COMPACT, _iso_time),
    (_DMTF, _dmtf_time),
    (_NUMBER, lambda match: _epoch_time(float(match[0]))),
    (_MICROSOFT, lambda match: _epoch_time(float(match[1]))),
    (_NUMERIC, _numeric_time),
    (_SYSLOG, _yearless_time),
)


# ---------------------------------------------------------------- a whole file
def settle_times(times: Sequence[datetime | None]) -> list[datetime | None]:
    """Settle the times of all records of a file, in the file's order, and return as many (`FileTimes` says how)."""
    file = FileTimes()
    noted = [file.note(time) for time in times]
    return [file.settle(time) for time in noted]


class FileTimes:
    """What only a whole file can tell of its times: the order of day and month, and the year of lines that write none.

    `note` takes each time in the file's order, `settle` gives it once all were noted. One number above 12 settles the order for
    all; without any, the order that keeps the file's times better sorted is taken, month first if both do alike. Where a file
    proves both orders, dates that can be read either way are none. Years count up where lines without a year go back by more
    than half a year. It remembers counts, never times.
    """

    def __init__(self) -> None:
        self.orders: set[Order] = set()
        self.month_first, self.day_first = _Steps(), _Steps()
        self.year = LEAP_YEAR
        self.before: datetime | None = None  # the last time without a year

    def note(self, time: datetime | None) -> datetime | None:
        """Take the next time; return it with its year, or as it is where the whole file has to tell."""
        if time is None:
            return None
        if not isinstance(time, UnsettledTime):
            self.month_first.take(time)
            self.day_first.take(time)
            return time
        self.orders.add(time.order)
        self.month_first.take(time)
        self.day_first.take(time.swapped if time.order == "either" and time.swapped else time)
        if time.order == "no year":
            return self._in_year(time)
        return time if time.order == "either" else _settled(time)

    def settle(self, time: datetime | None) -> datetime | None:
        """Return a noted time as the whole file tells it."""
        if not isinstance(time, UnsettledTime):
            return time
        if {"month first", "day first"} <= self.orders:
            return None
        return _settled(time.swapped if self._is_day_first() else time)

    def _is_day_first(self) -> bool:
        is_better = self.day_first.back < self.month_first.back
        return "day first" in self.orders or ("month first" not in self.orders and is_better)

    def _in_year(self, time: datetime) -> datetime | None:
        if self.before and self.before - time > HALF_YEAR:
            self.year += 1
        elif self.before and time - self.before > HALF_YEAR:
            self.year -= 1
        self.before = time
        try:
            return _settled(time.replace(year=self.year))
        except ValueError:
            return None  # a 29 February in a year that has none


class _Steps:
    """Counts the steps against a file's direction: exports list the newest first or last."""

    def __init__(self) -> None:
        self.last: datetime | None = None
        self.up = self.down = 0

    def take(self, time: datetime) -> None:
        if self.last is not None:
            self.up += time > self.last
            self.down += time < self.last
        self.last = time

    @property
    def back(self) -> int:
        return min(self.up, self.down)


def _settled(time: datetime | None) -> datetime | None:
    if not isinstance(time, UnsettledTime):
        return time
    return datetime(*time.timetuple()[:6], time.microsecond, UTC)
