"""Windows events in each shape that people export: the same event is the same draft, whatever it was exported as."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.importers import import_records
from telemetry.importers.events import DraftEvent
from telemetry.importers.unwrapping import unwrap
from tests.windows_renderings import EVENTS, RENDERINGS, evtx

MOMENT = datetime(2033, 2, 11, 6, 7, 8, 250_000, UTC)


def draft(raw: Any) -> DraftEvent:
    (result,) = import_records(list(unwrap(raw)))
    assert isinstance(result, DraftEvent), result
    return result


def facts(event: DraftEvent) -> dict[str, Any]:
    return {"event_type": event.event_type, **event.fields.model_dump(exclude_none=True)}


@pytest.mark.parametrize("event", list(EVENTS))
@pytest.mark.parametrize("shape", list(RENDERINGS))
def test_an_event_is_the_same_draft_in_every_shape(shape, event):
    expected, got = draft(evtx(EVENTS[event])), draft(RENDERINGS[shape](EVENTS[event]))

    assert got.time == MOMENT
    assert {name: str(value).lower() for name, value in facts(got).items()} == {
        name: str(value).lower() for name, value in facts(expected).items()
    }


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="¦"), min_size=1, max_size=40
)


@given(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), st.sampled_from(sorted(RENDERINGS)))
def test_whatever_a_command_line_holds_it_is_the_same_in_every_shape(command, shape):
    event = replace(EVENTS["sysmon"], data={**EVENTS["sysmon"].data, "CommandLine": f"cmd.exe /c {command}"})

    got = facts(draft(RENDERINGS[shape](event)))

    assert got["process_cmd_line"] == facts(draft(evtx(event)))["process_cmd_line"]
    assert got["process_path"] == "C:\\Windows\\System32\\whoami.exe"
