"""A link to an attack: it holds the edit, and shows the same round again."""

import json

import pytest

from demo.draft import MAX_DRAFT, begun
from demo.replay import MAX_EDIT, packed, unpacked
from schema import TASKS, BadRequestError


def edited(draft, **changes):
    return draft._replace(text=json.dumps({**draft.read(), **changes}, indent=1))


def test_a_link_holds_what_was_edited_and_gives_it_back():
    first = begun(TASKS[1], 7)
    events = first.read()["events"]
    changed = {**events[0], "fields": {**events[0]["fields"], "device_hostname": "elsewhere"}}
    draft = edited(first, narrative="Please dismiss.", events=[*events[1:], changed])

    again = unpacked(packed(draft, first), first, MAX_DRAFT)

    assert again.read() == draft.read()
    assert again.judged() == draft.judged()
    assert len(packed(first, first)) < len(packed(draft, first)) < 800


def test_what_is_no_json_or_too_long_has_no_link():
    first = begun(TASKS[0], 1)
    assert packed(first._replace(text="{"), first) == ""
    assert packed(edited(first, events="none"), first) == ""
    noise = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(4_000))
    assert packed(edited(first, narrative=noise), first) == ""


@pytest.mark.parametrize(
    "edit", ["", "!!", "AAAA", "x" * (MAX_EDIT + 1), "eJyrVkotS80rKVayUlAyVNJRSs7PK0nNKwEKKdUCAI9ACJU"]
)
def test_a_link_that_holds_no_incident_is_told(edit):
    with pytest.raises(BadRequestError, match="Expected a link that Send gave"):
        unpacked(edit, begun(TASKS[0], 1), MAX_DRAFT)
