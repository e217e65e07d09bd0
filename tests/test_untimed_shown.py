"""Lines without a time are shown as such, wherever a reader or a model sees them, and break no figure."""

import json
from math import isfinite

import plotly.graph_objects as go
import pytest

from demo import views
from demo.figures import hover_text
from demo.graph import graph
from demo.recorded import judged_log
from demo.timeline import timeline
from eval.features import fields
from eval.report_items import line_text
from players.prompt import user_text
from schema import NO_TIME, shown_time
from telemetry.__main__ import main
from telemetry.judging import judge
from telemetry.page import render_page
from telemetry.printing import summarise
from world import World

COMMAND = "vssadmin delete shadows /all /quiet"
TIMES = "2031-05-06T08:00:00Z", "about noon"


def record(time: str) -> dict:
    return {
        "Event": {
            "System": {
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                "EventID": 1,
                "TimeCreated": {"#attributes": {"SystemTime": time}},
                "Computer": "DESK-9.quill.test",
            },
            "EventData": {
                "Image": r"C:\Windows\System32\vssadmin.exe",
                "CommandLine": COMMAND,
                "User": r"QUILL\r.prell",
            },
        }
    }


def text_of(*times: str) -> str:
    return "".join(json.dumps(record(time)) + "\n" for time in times)


def case_of(*times: str):
    return judged_log(text_of(*times)).case


def test_a_time_is_shown_as_it_is_or_as_untimed():
    assert [shown_time(time) for time in (TIMES[0], NO_TIME)] == [TIMES[0], "untimed"]


def test_table_details_and_json_say_that_lines_are_untimed(tmp_path, capsys):
    path = tmp_path / "quill.jsonl"
    path.write_text(text_of(*TIMES))

    assert main(["--details", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 2 events bear no time that can be read" in printed
    assert "  L1-0 2031-05-06T08:00:00Z process " in printed
    assert "  L1-1 untimed process " in printed
    assert "0001-01-01" not in printed

    assert main(["--json", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["recordings"]
    assert (row["events_without_time"], row["events_used"]) == (1, 2)
    assert row["notes"][0].startswith("1 of 2 events bear no time")


def test_the_page_says_that_lines_are_untimed():
    judgement = judge(map(record, TIMES), World(), file="quill.jsonl")

    page = render_page([judgement], summarise([judgement], "empty"))

    assert "1 of 2 events bear no time that can be read" in page
    assert "L1-1 untimed process" in page
    assert "0001-01-01" not in page


@pytest.mark.parametrize("density", ["full", "compact"])
@pytest.mark.parametrize(("times", "untimed"), [(TIMES, 1), (TIMES[1:], 2)])
def test_a_model_reads_that_lines_are_untimed(density, times, untimed):
    """With no time at all, the context's present is unknown too."""
    observation = case_of(*times).observation

    text = user_text(observation, density=density)

    assert text.count("untimed") == untimed + (density == "compact" and len(times) == 1)
    assert "0001-01-01" not in text
    assert "nan" not in text


def test_the_demo_shows_untimed_lines_in_the_table_and_leaves_them_out_of_the_timeline():
    case = case_of(*TIMES)

    table, figure = views.log_table(case), timeline(case)

    assert "untimed" in table
    assert "0001" not in table
    drawn = [trace for trace in figure["data"] if trace.get("visible", True) and trace["name"] != "alert fired here"]
    assert sum(len(trace["x"]) for trace in drawn) == 1
    assert figure["layout"]["xaxis"]["title"]["text"] == "1 without a time, not shown"
    assert figure["layout"]["xaxis"]["range"] == ["2031-05-06T07:59:00", "2031-05-06T08:01:00"]


def test_a_window_without_any_time_has_figures_and_a_world_at_an_unknown_time():
    case = case_of(TIMES[1])

    figure = timeline(case, revealed=True)

    go.Figure(figure)
    go.Figure(graph(case, revealed=True))
    assert [list(trace["x"]) for trace in figure["data"]] == [[]]
    assert figure["layout"]["xaxis"]["title"]["text"] == "1 without a time, not shown"
    assert "at an unknown time" in views.world_tables(case.observation["context"])


def test_a_timeline_whose_lines_all_have_times_says_nothing_of_it():
    assert "title" not in timeline(case_of(TIMES[0]))["layout"]["xaxis"]


def test_a_pointer_and_a_report_say_untimed():
    line = case_of(TIMES[1]).observation["log_window"][0]

    assert hover_text(line).startswith("L1-0 untimed process: ")
    assert line_text(line).startswith("untimed process ")


@pytest.mark.parametrize("times", [TIMES, TIMES[1:]])
def test_a_time_that_is_unknown_is_a_number_among_the_features(times):
    described = fields(case_of(*times).observation)

    assert described["alerted.timestamp#least"] in (-1.0, 0.0)
    assert all(isfinite(value) for value in described.values())
