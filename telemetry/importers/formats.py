"""Describe a format of records: how one is known by its shape, what it becomes, and how people export it.

Every family of sources has a module with its rows (`FORMATS`); `telemetry.importers` joins them and tries them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.importers.events import Imported

Raw = Mapping[str, Any]


class Format(NamedTuple):
    """One format of records.

    `log_sources` are the Sigma log sources that it serves, written product/service or product/category (SigmaHQ, "Sigma log
    sources"); `export` says in a few words how people get such a file. `attempt` names the attempt (a sign-in, a
    request) that a record is a state of and gives the state's number: of one attempt's records only the last counts.
    """

    name: str
    has_shape: Callable[[Raw], bool]
    convert: Callable[[Raw], tuple[datetime | None, Imported]]
    log_sources: tuple[str, ...]
    export: str
    attempt: Callable[[Raw], tuple[str, int] | None] | None = None
