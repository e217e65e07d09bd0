"""The terminal game: what is on the screen, what is asked, and that every way out is a clean one."""

import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import httpx
import pytest
from rich.console import Console

import schema
from client import OpenSOCClient, play, screens
from client.play import main

ROOT = Path(__file__).resolve().parent.parent
EVENTS = [
    {
        "event_type": "process",
        "fields": {
            "device_hostname": "QXA-WKS-07",
            "actor_user": "ana.bose",
            "activity": "launch",
            "process_path": "C:\\Windows\\System32\\cmd.exe",
            "process_cmd_line": "cmd.exe /c [red]whoami[/red] " + "A" * 200,
        },
        "timestamp": "2026-03-02T09:14:07Z",
        "log_id": "L1-1",
    },
    {
        "event_type": "net_conn",
        "fields": {
            "activity": "open",
            "src_ip": "10.4.1.16",
            "dst_ip": "203.0.113.77",
            "dst_port": 443,
            "tls_sni": "a\x1b[31mb",
        },
        "timestamp": "2026-03-02T09:14:11Z",
        "log_id": "L1-2",
    },
]
SEEN = {
    "role": "defender",
    "instructions": "You are the analyst on duty.",
    "alert": {"title": "Shell started", "severity": "high", "log_id": "L1-1", "narrative": "Ignore this\u202e alert."},
    "log_window": EVENTS,
    "context": {
        "now": "2026-03-02T10:00:00Z",
        "networks": ["10.4.0.0/16"],
        "hosts": [{"name": "QXA-WKS-07", "ip": "10.4.1.16", "role": "workstation", "criticality": "lab"}],
        "accounts": [],
        "tickets": [{"ticket_id": "CHG-1", "hosts": ["QXA-WKS-07", "B"], "starts_at": "2026-03-02T08:00:00Z"}],
    },
    "playbook": "Decide in **three** steps.",
    "feedback": "",
}
GRADE = {
    "reward_table": "standard",
    "rewards": {"attacker": None, "defender": 1.1},
    "components": {"defender.decision": 1.0, "defender.citation": 0.1, "attacker.novelty": None},
    "action": "escalate",
    "cited_log_id": "L1-1",
    "feedback": "The answer escalate was taken.",
    "ground_truth": {
        "action": "escalate",
        "evidence_log_ids": ["L1-1"],
        "techniques": ["T1059"],
        "rule_ids": ["shell"],
        "explanation": "Decision: escalate.\nA shell was started by nobody we know.",
        "findings": [{"rule_id": "shell", "technique": "T1059", "evidence": ["L1-1"], "explained_by": None}],
    },
    "plausibility": [],
}


class Server:
    """A server of one canned episode, which keeps what it was asked."""

    def __init__(self, *, mode="defender_only", admitted=True, grade=GRADE):
        self.first = {**SEEN, "role": "attacker", "alert": None, "log_window": []} if mode == "self_play" else SEEN
        self.admitted = admitted
        self.grade = grade
        self.requests = []

    def client(self):
        return OpenSOCClient("http://soc.test", transport=httpx.MockTransport(self.answer))

    def answer(self, request):
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.url.path, body))
        if request.url.path == "/reset":
            return self.reply(self.first, done=False)
        if request.url.path == "/grade":
            return httpx.Response(200, json=self.grade)
        if "craft_incident" in body and self.admitted:
            return self.reply({**SEEN, "feedback": "The incident was admitted."}, done=False)
        return self.reply({"role": "none", "feedback": "It is over."}, done=True)

    def reply(self, observation, *, done):
        return httpx.Response(200, json={"observation": observation, "reward": None, "done": done, "episode_id": "e1"})

    def steps(self):
        return [body for path, body in self.requests if path == "/step"]

    def resets(self):
        return [body for path, body in self.requests if path == "/reset"]


@pytest.fixture
def type_in(monkeypatch):
    """Answers for the prompts, in order; after the last one the input ends."""

    def set_answers(*answers):
        queue = list(answers)

        def read(prompt=""):
            if not queue:
                raise EOFError
            answer = queue.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("builtins.input", read)

    return set_answers


def screen(*, width=80, **options):
    return Console(file=io.StringIO(), width=width, highlight=False, **options)


def text_of(console):
    return console.file.getvalue()


def rendered(renderable, *, width=80):
    console = screen(width=width)
    console.print(renderable)
    return text_of(console)


def play_on(server, *flags, console=None):
    """Play on a canned server; returns what was on the screen."""
    console = console or screen()
    args = play.parser().parse_args(list(flags))
    with server.client() as client, contextlib.suppress(EOFError, play.Leave):
        play.play(console, client, args)
    return text_of(console)


# ---------------------------------------------------------------- a round
def test_a_round_shows_the_alert_and_the_grade_and_sends_the_answer(type_in):
    server = Server()
    type_in("5", "l1-1", "A shell that nobody explains.", "n")
    seen = play_on(server, "--seed", "7", "--task", "stage2_multi")

    assert server.resets() == [{"task": "stage2_multi", "mode": "defender_only", "seed": 7}]
    triage = {"action": "escalate", "cited_log_id": "L1-1", "rationale": "A shell that nobody explains."}
    assert server.steps() == [{"submit_triage": triage}]
    for words in (
        "Shell started",
        "QXA-WKS-07",
        "203.0.113.77",
        "Correct: escalate.",
        "A shell was started by nobody we know.",
    ):
        assert words in seen
    assert [line.split() for line in seen.splitlines() if line.startswith(("defender.", "attacker.", "total"))] == [
        ["defender.decision", "+1.00"],
        ["defender.citation", "+0.10"],
        ["attacker.novelty", "-"],
        ["total,", "defender", "+1.10"],
    ]
    assert "Accounts" not in seen


def test_rounds_count_on_from_the_seed(type_in):
    server = Server()
    type_in("1", "L1-1", "x", "y", "1", "L1-1", "x", "n")
    play_on(server, "--seed", "7")

    assert [body["seed"] for body in server.resets()] == [7, 8]


def test_wrong_answers_are_asked_again_with_what_was_expected(type_in):
    server = Server()
    type_in("6", "panic", "monitor", "L9-9", "", "2", "L1-2", "", "x" * 2049, "Odd.", "n")
    seen = play_on(server)

    assert server.steps() == [{"submit_triage": {"action": "monitor", "cited_log_id": "L1-2", "rationale": "Odd."}}]
    for words in (
        "and '6' came",
        "and 'panic' came",
        "Expected one of L1-1, L1-2, and 'L9-9' came",
        "and 0 came",
        "and 2049 came",
    ):
        assert words in " ".join(seen.split())


def test_the_keys_show_what_they_say(type_in):
    type_in("p", "c", "h", "s L1-2", "s L7-7", "l")
    seen = play_on(Server())
    after = seen.split("q quit")[1:]

    assert "Decide in three steps." in after[0]
    assert "CHG-1" in after[1]
    assert "You are the analyst on duty." in after[2]
    assert "dst_port  443" in after[3]
    assert "Expected one of L1-1, L1-2, and 'L7-7' came" in after[4]
    assert "Log window" in after[5]


def test_evidence_and_the_cited_line_are_marked_by_words(type_in):
    wrong = {**GRADE, "action": "dismiss", "cited_log_id": "L1-2"}
    seen = rendered(screens.grade_screen(wrong, SEEN))
    rows = seen[seen.index("Log window") : seen.index("Findings")].splitlines()

    assert [row.split()[0] for row in rows if row.strip() in ("evidence", "cited") or "evidence" in row] == ["evidence"]
    assert sum("cited" in row for row in rows) == 1
    assert "Wrong: the answer was dismiss, and escalate was right." in seen


def test_a_self_play_round_sends_the_incident_of_a_file(type_in, tmp_path):
    incident = {"target_label": "dismiss", "category": "execution", "events": [], "narrative": ""}
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "incident.json").write_text(json.dumps({"craft_incident": incident}))
    server = Server(mode="self_play")
    type_in(str(tmp_path / "list.json"), str(tmp_path / "incident.json"), "1", "L1-1", "Fine.", "n")
    seen = play_on(server, "--mode", "self_play", "--incident", str(tmp_path / "missing.json"))

    assert server.steps()[0] == {"craft_incident": incident}
    assert list(server.steps()[1]) == ["submit_triage"]
    assert "Expected a readable JSON file" in seen
    assert "Expected a JSON object" in seen
    assert "The incident was admitted." in seen


def test_a_refused_incident_ends_the_round_with_the_reasons(type_in, tmp_path):
    (tmp_path / "incident.json").write_text("{}")
    refused = {
        **GRADE,
        "action": None,
        "cited_log_id": None,
        "ground_truth": None,
        "plausibility": ["no host is named X"],
    }
    server = Server(mode="self_play", admitted=False, grade=refused)
    type_in("n")
    seen = play_on(server, "--mode", "self_play", "--incident", str(tmp_path / "incident.json"))

    assert server.steps() == [{"craft_incident": {}}]
    assert "No triage was judged." in seen
    assert "Not plausible: no host is named X" in seen


# ---------------------------------------------------------------- the screen
@pytest.mark.parametrize("width", [40, 80, 200])
def test_everything_fits_into_the_terminal_and_is_there(width):
    parts = (screens.observation_screen(SEEN), screens.grade_screen(GRADE, SEEN))
    seen = "".join(rendered(part, width=width) for part in parts)

    assert max(len(line) for line in seen.splitlines()) <= width
    for word in ("CHG-1", "Shell", "L1-2", "whoami", "port", "443", "1.10", "nobody", "escalate"):
        assert word in seen


def test_a_line_reads_as_a_phrase():
    shell, connection = (screens.summary(event).plain for event in EVENTS)

    assert shell.startswith("QXA-WKS-07 ana.bose  C:\\Windows\\System32\\cmd.exe ran: cmd.exe /c [red]whoami[/red] AAA")
    assert connection == "10.4.1.16 > 203.0.113.77 port 443  tls_sni=a\\x1b[31mb"


@pytest.mark.parametrize(
    ("wish", "log_id"),
    [("L1-2", "L1-2"), ("l1-2", "L1-2"), ("1-2", "L1-2"), (" L1-2 ", "L1-2"), ("2", None), ("", None)],
)
def test_a_line_is_found_by_any_spelling_of_its_id(wish, log_id):
    assert play.find_log_id(SEEN, wish) == log_id


def test_text_of_an_attacker_cannot_style_or_steer_the_terminal():
    seen = rendered(screens.observation_screen(SEEN), width=200) + rendered(screens.event_panel(EVENTS[1]))

    assert "[red]whoami[/red]" in seen
    assert "a\\x1b[31mb" in seen
    assert "Ignore this\\u202e alert." in seen
    assert "\x1b" not in seen
    assert "\u202e" not in seen


def test_a_long_value_is_cut_in_the_table_and_whole_on_demand():
    assert "A" * 120 not in rendered(screens.observation_screen(SEEN), width=400)
    assert "A" * 200 in rendered(screens.event_panel(EVENTS[0]), width=400)


def _sample(annotation, name):
    """A value that some field of that type may hold, and that shows which field it was."""
    text = str(annotation)
    literal = next((part for part in get_args(annotation) if "Literal" in str(part)), None)
    if literal is not None:
        return get_args(literal)[0]
    return 7 if "int" in text else f"value-of-{name}"


@pytest.mark.parametrize("event_type", schema.EVENT_TYPES)
def test_every_field_of_every_event_type_is_in_its_line(event_type):
    model = schema.EVENT_CLASSES[event_type].model_fields["fields"].annotation
    fields = {name: _sample(field.annotation, name) for name, field in model.model_fields.items() if name != "activity"}
    line = screens.summary({"event_type": event_type, "fields": fields}).plain

    assert [name for name, value in fields.items() if str(value) not in line] == []
    assert "{" not in line


@pytest.mark.parametrize("mark", ["\u0489", "\u0301", "\u20dd", "\u034f"], ids=lambda mark: f"U+{ord(mark):04X}")
def test_a_heap_of_combining_marks_paints_over_nothing(mark):
    escape = mark.encode("unicode_escape").decode()

    assert screens.visible(f"a{mark * 3}b{mark * 3}") == f"a{mark * 3}b{mark * 3}"
    assert screens.visible(f"a{mark * 200}") == f"a{mark * 3}{escape * 197}"
    assert screens.visible([f"a{mark * 4}", mark]) == f"a{mark * 3}{escape}, {mark}"


def test_a_mark_with_a_place_of_its_own_opens_no_room_for_more():
    assert screens.visible("\u0915" + "\u0300\u0903" * 5).count("\\u0300") == 2


@pytest.mark.parametrize(
    "text",
    [
        "e\u0301",
        "\u1ec7",
        "\u0e17\u0e35\u0e48",
        "\u05e9\u05c1\u05b8",
        "5\ufe0f\u20e3",
        "\u1019\u103c\u103d\u103e\u1031\u102c",
    ],
)
def test_words_with_marks_stay_as_they_are(text):
    assert screens.visible(text) == text


def test_a_type_that_the_client_does_not_know_is_shown_too():
    assert screens.summary({"event_type": "new", "fields": {"a": 1, "b": [1, 2]}}).plain == "a=1 b=1, 2"


def test_no_color_is_respected(monkeypatch, type_in):
    monkeypatch.setenv("NO_COLOR", "1")
    type_in("1", "L1-1", "x", "n")
    seen = play_on(Server(), console=screen(force_terminal=True, color_system="truecolor"))

    assert [code for code in ("\x1b[3", "\x1b[9", "\x1b[1;3") if f"{code}1m" in seen or f"{code}3m" in seen] == []


# ---------------------------------------------------------------- ways out
@pytest.fixture
def nobody_answers(monkeypatch):
    """A default address where no server is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(play, "DEFAULT_URL", f"http://127.0.0.1:{port}")
    return play.DEFAULT_URL


@pytest.mark.parametrize(("answer", "status"), [("q", 0), (EOFError(), 0), (KeyboardInterrupt(), 130)])
@pytest.mark.parametrize("before", [[], ["1"], ["1", "L1-1"], ["1", "L1-1", "x"]])
def test_leaving_is_clean_at_every_prompt(monkeypatch, type_in, before, answer, status):
    monkeypatch.setattr(play, "OpenSOCClient", lambda url, headers: Server().client())
    type_in(*before, answer)
    console = screen()

    assert play.run(console, play.parser().parse_args(["--url", "http://soc.test"])) == status
    assert text_of(console).endswith("Bye.\n")


def test_without_a_server_and_a_checkout_it_says_what_to_start(monkeypatch, capsys, nobody_answers):
    monkeypatch.setattr(play, "find_checkout", lambda: None)

    assert main([]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"Expected an OpenSOC server at {nobody_answers}, and none answered: start one with `make serve`" in said


def test_an_address_that_is_none_gets_a_sentence(capsys):
    assert main(["--url", "localhost:7860"]) == 1
    assert "Expected base_url as in" in capsys.readouterr().out


def test_it_starts_a_server_of_its_own_and_stops_it(capsys, type_in, nobody_answers):
    type_in("1", "x", "q")

    assert main(["--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert f"Nothing answers at {nobody_answers}" in " ".join(said.split())
    assert_stopped(said)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system closes terminals in another way")
def test_a_closed_terminal_takes_the_server_with_it():
    code = (
        "from client import play; play.DEFAULT_URL = 'http://127.0.0.1:9'; raise SystemExit(play.main(['--seed', '1']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as game:
        said = ""
        while "q quit" not in said and game.poll() is None:
            said += game.stdout.readline()
        game.send_signal(signal.SIGHUP)
        assert game.wait(timeout=120) == 128 + signal.SIGHUP

    assert_stopped(said)


def assert_stopped(said):
    """The server that a game said it plays on listens no more."""
    port = int(re.search(r"Playing on http://127.0.0.1:(\d+)", said)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
