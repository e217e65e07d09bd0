"""Records in what a tool, a console or a collector puts around them: which event each sample becomes, with its own time."""

from pathlib import Path

import pytest

from telemetry.judging import judge_file
from world import World

SAMPLES = Path(__file__).parent / "data" / "formats"


def first_event(name, *fields):
    """Read a sample and return its first event's time and the fields that are asked for."""
    event = judge_file((name, SAMPLES / name), World()).events[0]
    return event["timestamp"], *(event["fields"].get(field) for field in fields)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "syslog--macos-process-title.log",
            ("activity", "user_name", "src_ip"),
            ("2027-04-06T09:20:01.118203Z", "failure", "bianca", "198.51.100.23"),
        ),
        (
            "syslog--wazuh-archives.json",
            ("activity", "user_name", "device_hostname"),
            ("2027-04-06T09:20:01.118000Z", "failure", "bianca", "shop-3"),
        ),
        (
            "systemd-journal--json-seq.json",
            ("activity", "user_name"),
            ("2027-04-06T09:20:01Z", "failure", "bianca"),
        ),
        (
            "windows-events-in-flat-records--velociraptor.csv",
            ("activity", "process_cmd_line", "actor_user"),
            ("2027-04-06T09:20:01Z", "launch", "whoami", "ATELIER\\bianca"),
        ),
    ],
)
def test_a_record_is_read_out_of_what_is_around_it(name, fields, expected):
    assert first_event(name, *fields) == expected
