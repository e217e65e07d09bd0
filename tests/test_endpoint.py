"""A model behind an endpoint: requests in flight, retries, limits, and that nothing paid for is lost or paid for twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="openai is not installed; the extra `eval` brings it")
pytest.importorskip("tenacity", reason="tenacity is not installed; the extra `eval` brings it")

from eval import run
from eval.items import fresh
from fake_endpoint import ANSWER, BREAKS_OFF, ENDLESS, Fake, refused, serving
from players import endpoint
from runs.ending import DONE, INTERRUPTED, STOPPED, WRONG

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--attempts", "3", "--backoff", "0.01", "--density", "compact")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """What is measured is not looked at here."""
    monkeypatch.setattr("eval.run.measure", lambda lines, *, seed: {})


def call(fake, out, *more, n=8):
    return run.main(["--defender", fake.url, "--split", "val", "--n", str(n), "--out", str(out), *QUICK, *more])


def lines(out):
    return [json.loads(line) for line in (out / "rollouts.jsonl").read_text().splitlines()]


def once(*first):
    """Says each of `first` to one request, and the right thing to all others."""
    return lambda number, body: first[number] if number < len(first) else ANSWER


# ---------------------------------------------------------------- in flight
def test_sixty_four_requests_are_in_flight_and_no_more(tmp_path):
    full = threading.Barrier(64)

    def reply(number, body):
        if number < 64:
            full.wait(20)  # breaks, and so refuses, unless 64 requests are there at once
        return ANSWER

    with serving(Fake(reply)) as fake:
        assert call(fake, tmp_path, n=150) == DONE

    assert fake.most == 64
    assert len(fake.seen) == len(lines(tmp_path)) == 150


def test_concurrency_bounds_the_requests_in_flight(tmp_path):
    with serving(Fake(lambda number, body: time.sleep(0.02) or ANSWER)) as fake:
        call(fake, tmp_path, "--concurrency", "3", n=12)

    assert fake.most == 3


def test_a_reply_is_on_the_disk_before_the_last_one_has_come(tmp_path):
    stored = threading.Event()

    def reply(number, body):
        if number == 0:
            for _ in range(200):
                if (tmp_path / "rollouts.jsonl").exists() and len(lines(tmp_path)) == 7:
                    stored.set()
                    break
                time.sleep(0.02)
        return ANSWER

    with serving(Fake(reply)) as fake:
        assert call(fake, tmp_path) == DONE

    assert stored.is_set()


def test_what_is_sent_and_stored(tmp_path):
    with serving(Fake()) as fake:
        more = (
            "--price-in",
            "2",
            "--price-out",
            "10",
            "--temperature",
            "0.5",
            "--request",
            '{"max_tokens": null, "top_k": 3}',
        )
        call(fake, tmp_path, *more, n=1)

    sent, line = fake.seen[0], lines(tmp_path)[0]
    assert {key: sent[key] for key in sent if key != "messages"} == {
        "model": "fake-1",
        "temperature": 0.5,
        "seed": 0,
        "top_k": 3,
    }
    assert sent["messages"] == line["prompt"]
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert line["reply"] == ANSWER
    assert line["answer"] == {**json.loads(ANSWER), "confidence": None}
    assert line["usage"] == {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "cost": pytest.approx((2000 + 1000) / 1e6),
    }
    assert 0 < line["latency_s"] < 20
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["defender"] == {
        "name": "fake-1",
        "kind": "endpoint",
        "url": fake.url,
        "request": {"temperature": 0.5, "seed": 0, "top_k": 3},
    }


# ---------------------------------------------------------------- what may pass
@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"Retry-After": "0"}, "{}"),
        (500, (), "{}"),
        (503, (), "<html>busy</html>"),
        (408, (), "{}"),
        b"<html>a gateway's page</html>",
        b"[1, 2]",
        BREAKS_OFF,
    ],
    ids=["429", "500", "503", "408", "html", "array", "breaks off"],
)
def test_what_may_pass_is_asked_again(tmp_path, trouble):
    with serving(Fake(once(trouble, trouble))) as fake:
        assert call(fake, tmp_path, "--concurrency", "1", n=3) == DONE

    assert len(fake.seen) == 3 + 2
    assert [line["action"] for line in lines(tmp_path)] == ["monitor"] * 3


def test_a_stalled_request_ends_at_the_time_limit_and_is_asked_again(tmp_path):
    stalled = threading.Event()
    with serving(Fake(lambda number, body: stalled.wait(30) if number == 0 else ANSWER)) as fake:
        assert call(fake, tmp_path, "--timeout", "0.3", n=1) == DONE
        stalled.set()

    assert len(fake.seen) == 2
    assert [line["action"] for line in lines(tmp_path)] == ["monitor"]


def test_the_pause_that_the_server_asks_for_is_kept(tmp_path):
    with serving(Fake(once((429, {"Retry-After": "1"}, "{}")))) as fake:
        call(fake, tmp_path, n=1)

    assert 1 <= fake.arrivals[1] - fake.arrivals[0] < 4


def test_an_item_whose_attempts_all_fail_stays_open_and_the_others_are_kept(tmp_path, capsys):
    unlucky = "L1-1"

    def reply(number, body):
        return (500, (), "{}") if body["messages"][-1]["content"] == unlucky else ANSWER

    with serving(Fake(reply)) as fake:
        unlucky = call(fake, tmp_path / "probe", n=1) or fake.seen[0]["messages"][-1]["content"]
        fake.seen.clear()
        assert call(fake, tmp_path / "run") == STOPPED
        assert len(lines(tmp_path / "run")) == 7
        assert fake.asked[unlucky] == 1 + 3
        assert "1 of 8 items got no answer after 3 attempts" in capsys.readouterr().err
        unlucky, fake.seen[:] = "", []
        assert call(fake, tmp_path / "run") == DONE

    assert len(fake.seen) == 1
    assert len({line["id"] for line in lines(tmp_path / "run")}) == 8


# ---------------------------------------------------------------- what does not pass
@pytest.mark.parametrize("status", [401, 403, 404, 400, 422])
def test_a_refusal_ends_the_run_at_once(tmp_path, capsys, status):
    with serving(Fake(lambda number, body: refused("no such thing", status=status))) as fake:
        assert call(fake, tmp_path, "--concurrency", "2", n=20) == STOPPED

    assert len(fake.seen) <= 2
    assert f"refuses with {status}" in capsys.readouterr().err


def test_no_money_left_ends_the_run_at_once(tmp_path, capsys):
    with serving(Fake(lambda number, body: refused("You exceeded your quota", "insufficient_quota", 429))) as fake:
        assert call(fake, tmp_path, "--concurrency", "1") == STOPPED

    assert len(fake.seen) == 1
    assert "insufficient_quota" in capsys.readouterr().err


def test_a_prompt_that_the_model_cannot_take_is_answered_with_that_fault(tmp_path):
    too_long = refused("This model's maximum context length is 10 tokens", "context_length_exceeded")
    with serving(Fake(once(too_long))) as fake:
        assert call(fake, tmp_path, "--concurrency", "1", n=3) == DONE

    first = lines(tmp_path)[0]
    assert first["reply"] is None
    assert "maximum context length" in first["fault"]
    assert first["reward"] == -0.1
    assert len(fake.seen) == 3


@pytest.mark.parametrize(
    ("said", "kept", "fault"),
    [
        ("", None, "the model gave nothing"),
        (None, None, "the model gave nothing"),
        (b'{"choices": []}', None, "the model gave nothing"),
        (b'{"choices": [{"message": null}]}', None, "the model gave nothing"),
        ("I think, therefore " * 9, "I think, therefore " * 9, None),
        ("word " * 50_000, ("word " * 50_000)[:200_000], None),
        (ENDLESS, None, f"the reply is longer than {endpoint.MAX_BODY} bytes"),
    ],
    ids=["empty", "null", "no choice", "no message", "rambles", "rambles long", "endless"],
)
def test_a_reply_without_an_answer_is_malformed_and_asked_once(tmp_path, said, kept, fault):
    with serving(Fake(lambda number, body: said)) as fake:
        assert call(fake, tmp_path, n=1) == DONE

    line = lines(tmp_path)[0]
    assert line["reply"] == kept
    assert (line["action"], line["reward"]) == (None, -0.1)
    assert line["fault"] if fault is None else line["fault"] == fault
    assert len(fake.seen) == 1


def test_an_endpoint_that_dies_ends_the_run_and_the_same_command_goes_on(tmp_path, capsys):
    with serving(Fake(lambda number, body: ANSWER if number < 20 else BREAKS_OFF)) as fake:
        assert call(fake, tmp_path, "--concurrency", "4", "--model", "fake-1", n=40) == STOPPED
    assert "items in a row got none" in capsys.readouterr().err
    before = {line["id"] for line in lines(tmp_path)}
    assert len(before) == 20

    port = int(fake.url.split(":")[2].split("/")[0])
    assert call(fake, tmp_path, "--model", "fake-1", n=40) == STOPPED  # nobody is there at all
    assert not (tmp_path / "metrics.json").exists()
    with serving(Fake(), port) as again:
        assert call(again, tmp_path, "--model", "fake-1", n=40) == DONE

    assert len(again.seen) == 20
    assert len({line["id"] for line in lines(tmp_path)}) == len(lines(tmp_path)) == 40
    assert len(json.loads((tmp_path / "run.json").read_text())["resumed"]) == 2


# ---------------------------------------------------------------- limits
def test_a_cost_limit_is_never_passed_and_a_higher_one_goes_on(tmp_path, capsys):
    prices = ("--price-in", "1", "--price-out", "1", "--max-tokens", "100")  # 0.0011 USD a reply
    with serving(Fake(lambda number, body: time.sleep(0.01) or ANSWER)) as fake:
        assert call(fake, tmp_path, *prices, "--max-cost", "0.01", n=30) == STOPPED
        spent = sum(line["usage"]["cost"] for line in lines(tmp_path))
        assert 0.005 < spent <= 0.01
        assert "cost limit" in capsys.readouterr().err
        asked = len(fake.seen)
        assert call(fake, tmp_path, *prices, "--max-cost", "0.01", n=30) == STOPPED
        assert len(fake.seen) == asked  # what was spent before counts
        assert call(fake, tmp_path, *prices, "--max-cost", "1", n=30) == DONE

    assert len(fake.seen) == 30
    assert json.loads((tmp_path / "metrics.json").read_text())["totals"]["cost"] == pytest.approx(30 * 0.0011)


def test_a_cost_limit_needs_prices(tmp_path, capsys):
    with serving(Fake()) as fake:
        assert call(fake, tmp_path, "--max-cost", "1") == WRONG

    assert "--price-in" in capsys.readouterr().err


def test_tokens_that_the_endpoint_does_not_count_are_estimated(tmp_path):
    with serving(Fake(usage=None)) as fake:
        call(fake, tmp_path, n=1)

    usage = lines(tmp_path)[0]["usage"]
    assert usage["estimated"] is True
    assert usage["completion_tokens"] == round(len(ANSWER) / endpoint.TOKEN)


def test_requests_keep_their_pace_retries_too(tmp_path):
    with serving(Fake(once((500, (), "{}"), (500, (), "{}")))) as fake:
        call(fake, tmp_path, "--rpm", "600", n=6)

    gaps = [later - earlier for earlier, later in zip(sorted(fake.arrivals), sorted(fake.arrivals)[1:], strict=False)]
    assert len(fake.arrivals) == 8
    assert sum(gaps) >= 0.5  # 7 gaps of 0.1 s; on a busy machine the first request arrives late. Without a pace: 0.03 s
    assert sorted(gaps)[1] > 0.05


# ---------------------------------------------------------------- key, URL, model
def test_the_key_is_sent_and_stands_in_no_file_and_no_message(tmp_path, monkeypatch, capsys):
    secret = "sk-opensoc-test-0123456789"
    monkeypatch.setenv("SOME_KEY", secret)
    with serving(Fake(once(ANSWER, refused(f"Incorrect API key provided: {secret}", status=401)))) as fake:
        assert call(fake, tmp_path, "--key-env", "SOME_KEY", "--concurrency", "1", n=3) == STOPPED

    assert fake.keys == {f"Bearer {secret}"}
    said = capsys.readouterr()
    assert "[key]" in said.err
    assert secret not in said.err + said.out
    assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_no_key_is_sent_that_was_not_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    with serving(Fake()) as fake:
        call(fake, tmp_path, n=1)

    assert fake.keys == {"Bearer none"}


def test_a_key_variable_that_is_not_set_is_a_wrong_call(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with serving(Fake()) as fake:
        assert call(fake, tmp_path, "--key-env", "NO_SUCH_KEY") == WRONG

    assert "NO_SUCH_KEY" in capsys.readouterr().err
    assert not fake.seen


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:1/v1", "http://127.0.0.1:1/v1?key=secret", "http://"])
def test_a_url_with_credentials_is_refused_without_repeating_them(tmp_path, capsys, url):
    assert run.main(["--defender", url, "--split", "val", "--n", "1", "--out", str(tmp_path)]) == WRONG

    said = capsys.readouterr().err
    assert "http://localhost:8000/v1" in said
    assert "secret" not in said


def test_one_of_several_models_has_to_be_named(tmp_path, capsys):
    with serving(Fake(models=("big", "small"))) as fake:
        assert call(fake, tmp_path) == WRONG
        assert "big, small" in capsys.readouterr().err
        assert call(fake, tmp_path, "--model", "small", n=1) == DONE

    assert fake.seen[0]["model"] == "small"


def test_a_url_without_a_path_gets_the_usual_one(tmp_path):
    with serving(Fake()) as fake:
        fake.url = fake.url.removesuffix("/v1")
        assert call(fake, tmp_path, n=1) == DONE


# ---------------------------------------------------------------- Ctrl-C and kill
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "terminated", "killed"]
)
def test_an_interrupted_run_goes_on_without_asking_twice(tmp_path, number):
    """Of 24 items 8 are in flight when the signal comes; after Ctrl-C they still arrive, after a kill they are asked again."""
    going, stopped = threading.Event(), threading.Event()

    def reply(place, body):
        if place == 15:
            going.set()
        if place >= 8:
            stopped.wait(30)
        return ANSWER

    with serving(Fake(reply)) as fake:
        command = [
            "--defender",
            fake.url,
            "--split",
            "val",
            "--n",
            "24",
            "--out",
            str(tmp_path),
            *QUICK,
            "--concurrency",
            "8",
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "eval.run", *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "."},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert going.wait(60)
        deadline = time.monotonic() + 120
        while len(lines(tmp_path)) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        if number != signal.SIGKILL:
            assert "Waiting" in process.stderr.readline() + process.stderr.readline()
        stopped.set()
        said = process.communicate(timeout=120)[1]
        kept = 8 if number == signal.SIGKILL else 16
        assert process.returncode == (-number if number == signal.SIGKILL else INTERRUPTED), said
        assert len(lines(tmp_path)) == kept
        fake.seen.clear()
        assert run.main(command) == DONE

    assert len(fake.seen) == 24 - kept
    assert len({line["id"] for line in lines(tmp_path)}) == len(lines(tmp_path)) == 24


def test_items_are_the_same_whoever_asks(tmp_path):
    assert fresh("val", 8, 3).sha256 == fresh("val", 8, 3).sha256 != fresh("val", 8, 4).sha256
