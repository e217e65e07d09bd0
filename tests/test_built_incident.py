"""Incidents that are built without validation are what validation would make of the same rows."""

import copy
import pickle

import pytest

from generator import generate
from schema import EVENT_CLASSES, TASKS, Incident, built_incident
from tasks.registry import SPLITS

CASES = 1_000  # of each task


@pytest.mark.parametrize("task", TASKS)
def test_the_generators_rows_are_valid_and_give_the_same_incident(task):
    for index in range(CASES):
        case = generate(task, index, split=SPLITS[index % len(SPLITS)])
        built = case.incident

        validated = Incident.model_validate(
            {
                "target_label": built.target_label,
                "category": built.category,
                "events": case.lines,
                "narrative": built.narrative,
            }
        )

        assert built == validated
        assert [type(event) for event in built.events] == [type(event) for event in validated.events]
        assert built.model_dump_json() == validated.model_dump_json()
        assert built.model_dump_json(exclude_unset=True) == validated.model_dump_json(exclude_unset=True)


@pytest.mark.parametrize("event_type", EVENT_CLASSES)
def test_every_event_type_can_be_built(event_type):
    activity = EVENT_CLASSES[event_type].model_fields["fields"].annotation.model_fields["activity"].annotation
    row = {
        "event_type": event_type,
        "fields": {"activity": activity.__args__[0]},
        "timestamp": "2026-03-02T09:14:07Z",
        "log_id": "L1-1",
    }

    built = built_incident("monitor", "impact", [row])

    assert built == Incident.model_validate({"target_label": "monitor", "category": "impact", "events": [row]})


def test_a_built_incident_is_a_whole_model():
    built = generate("stage3_mixed", 0).incident

    assert pickle.loads(pickle.dumps(built)) == built
    assert copy.deepcopy(built) == built
    assert built.events[0].fields.model_fields_set < set(type(built.events[0].fields).model_fields)
    with pytest.raises(ValueError, match="frozen"):
        built.narrative = "changed"
    with pytest.raises(ValueError, match="frozen"):
        built.events[0].fields.device_hostname = "changed"
