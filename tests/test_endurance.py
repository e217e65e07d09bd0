"""The scripts that soak, fuzz and trouble a server: their judgements, and short forms of them on a server of their own."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from chaos import FAULTS, Peer  # noqa: E402
from fuzz import Fuzzer  # noqa: E402
from soak import Soak, log_errors  # noqa: E402


def run(script, *arguments):
    command = [sys.executable, f"scripts/{script}.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


# ---------------------------------------------------------------- what they call wrong
def test_the_slope_is_that_of_the_last_two_thirds():
    work = Soak("", 0, 900)
    work.memory = [(100, 10.0), (300, 500.0), *((played, 500 + played / 1024) for played in (400, 600, 900))]

    assert work.slope() == pytest.approx(1.0)  # KiB an episode; the steep start is not in it


def test_an_error_in_a_log_is_seen(tmp_path):
    (tmp_path / "log").write_text('OpenSOC listens\n{"level": "WARNING"}\n{"level": "ERROR"}\n  Traceback (most\n')

    assert log_errors(tmp_path / "log") == ['{"level": "ERROR"}', "  Traceback (most"]


@pytest.mark.parametrize(
    ("status", "content", "fault"),
    [
        (200, {"done": False, "observation": {"alert": 1}}, None),
        (422, {"detail": "Expected this, got that."}, None),
        (500, {"detail": "Something went wrong."}, "500"),
        (404, {"error": "no"}, "404 in another form"),
        (200, {"done": False, "observation": {"grade": {"ground_truth": {"action": "monitor"}}}}, "a leak"),
        (200, {"done": False, "feedback": "Traceback (most recent call last)"}, "a traceback"),
    ],
)
def test_what_is_wrong_with_an_answer_is_counted(status, content, fault):
    fuzzer = Fuzzer("", Random(1))
    fuzzer.look("POST", "/step", httpx.Response(status, text=json.dumps(content, separators=(",", ":"))))

    fuzzer.look(
        "GET", "/tasks", httpx.Response(400, text='{"detail": "Expected HTTP."}')
    )  # the transport's own, with a space

    assert list(fuzzer.faults) == ([] if fault is None else [f"POST /step: {fault}"])


def test_the_same_seed_sends_the_same():
    def sent(seed):
        fuzzer = Fuzzer("", Random(seed))
        return [(fuzzer.content(), fuzzer.frame("/ws"), fuzzer.frame("/mcp")) for _ in range(200)]

    assert sent(3) == sent(3)
    assert sent(3) != sent(4)


def test_a_peer_says_how_his_calls_went():
    peer = Peer("", calls={"during": [1.0, None, 3.0, 80.0]})

    assert peer.told("during") == "4, 1 failed, 3 / 80"
    assert peer.told("after") == "0, 0 failed, -"


# ---------------------------------------------------------------- short forms
@pytest.mark.slow
def test_a_short_soak_leaves_nothing():
    done = run("soak", "--episodes", "6000", "--places", "256", "--bound", "1.5")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_whatever_is_sent_is_answered_in_order():
    done = run("fuzz", "--requests", "4000", "--frames", "1200")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS if fault.name not in ("nothing", "no_files")])
def test_a_fault_fails_no_call_of_another(fault):
    done = run("chaos", fault)

    if "not run" in done.stdout:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
