"""What no rule speaks of is counted and said, and a window of nothing else is never dismissed."""

import json

from demo.recorded import judged_log
from demo.views import judged
from telemetry.__main__ import main
from telemetry.judging import Judgement, judge
from telemetry.page import render_page
from telemetry.printing import summarise
from world import World


def event(number: int, second: int, **data: str) -> dict:
    return {
        "Event": {
            "System": {
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                "EventID": number,
                "TimeCreated": {"#attributes": {"SystemTime": f"2031-05-06T08:00:{second:02d}Z"}},
                "Computer": "DESK-9.quill.test",
            },
            "EventData": {"Image": r"C:\Windows\System32\notepad.exe", "ProcessId": str(second), **data},
        }
    }


def ends(count: int) -> list[dict]:
    return [event(5, second) for second in range(count)]


LAUNCH = event(1, 30, CommandLine="notepad.exe plan.txt", User=r"QUILL\r.prell")
SHADOWS = event(
    1, 31, Image=r"C:\Windows\System32\vssadmin.exe", CommandLine="vssadmin delete shadows /all /quiet", User="QUILL\\r"
)


def judgement_of(records: list[dict]) -> Judgement:
    return judge(records, World(), file="quill.jsonl")


def test_a_window_of_lines_that_no_rule_speaks_of_is_monitored_with_that_reason():
    judgement = judgement_of(ends(3))

    assert (judgement.action, judgement.events_unspoken, judgement.events_used) == ("monitor", 3, 3)
    assert judgement.notes == ["No rule speaks of 3 of 3 lines: 3 x process terminate."]
    assert judgement.explanation.splitlines()[-1].startswith(
        "Decision: monitor, because no rule speaks of any of its lines"
    )
    assert judgement.action_without_log_clear == "monitor"


def test_one_line_that_rules_speak_of_and_find_harmless_is_dismissed_and_the_rest_is_said():
    judgement = judgement_of([*ends(3), LAUNCH])

    assert (judgement.action, judgement.events_unspoken) == ("dismiss", 3)
    assert judgement.notes == ["No rule speaks of 3 of 4 lines: 3 x process terminate."]


def test_a_decision_on_what_rules_speak_of_stands():
    assert judgement_of([*ends(3), SHADOWS]).action == judgement_of([SHADOWS]).action != "dismiss"


def test_a_window_that_rules_speak_of_has_no_such_note():
    judgement = judgement_of([LAUNCH])

    assert (judgement.action, judgement.events_unspoken, judgement.notes) == ("dismiss", 0, [])


def test_the_commonest_kinds_are_named_first_and_three_at_most():
    judgement = Judgement(
        "a", events_used=9, events_unspoken=8, unspoken_kinds={"a b": 4, "c d": 2, "e f": 1, "g h": 1}
    )

    assert judgement.notes == ["No rule speaks of 8 of 9 lines: 4 x a b, 2 x c d, 1 x e f."]


def test_table_json_and_page_say_it(tmp_path, capsys):
    path = tmp_path / "quill.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in ends(3)))

    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "No rule speaks of 3 of 3 lines: 3 x process terminate." in printed
    assert "No rule speaks of 3 of 3 lines; of no line in 1 recordings." in printed

    assert main(["--json", str(path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recordings"][0]["events_unspoken"] == 3
    assert report["recordings"][0]["unspoken_kinds"] == {"process terminate": 3}
    assert (report["summary"]["unspoken"], report["summary"]["events_unspoken"]) == (["quill.jsonl"], 3)

    judgement = judgement_of(ends(3))
    page = render_page([judgement], summarise([judgement], "empty"))
    assert "No rule speaks of 3 of 3 lines: 3 x process terminate." in page


def test_the_demo_says_it_and_decides_alike():
    log = judged_log("".join(json.dumps(record) + "\n" for record in ends(3)))

    assert (log.judgement.action, log.case.truth.action) == ("monitor", "monitor")
    assert "No rule speaks of 3 of 3 lines" in judged(log)
