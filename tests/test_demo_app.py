"""The demo over HTTP: what the fence lets through, what the visitors' clicks get, what stays hidden. Clicks in a browser are in test_browser.py."""

import asyncio
import gc
import inspect
import json
import re
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

import demo_app
import demo_data
from app_runtime import Settings
from server import whole_app

# Gradio leaves the event loops that it asked for open; they are collected here, where nobody minds.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def client():
    with TestClient(whole_app(Settings())) as running:
        yield running
    gc.collect()


@pytest.fixture(scope="module")
def config(client):
    return client.get("/demo/config").json()


# ---------------------------------------------------------------- a crowd
def test_clicks_go_one_after_the_other_and_wait_for_no_slow_sender():
    """Three clicks at once, the first of which sends the end of its body last."""
    at_work, seen = 0, []

    async def gradio(scope, receive, send):
        nonlocal at_work
        while (await receive()).get("more_body"):
            pass
        at_work += 1
        seen.append((scope["name"], at_work))
        await asyncio.sleep(0.01)
        at_work -= 1
        await receive()  # is the client still there?

    async def crowd():
        fence = demo_app.Fence(gradio)
        late = asyncio.Event()

        def sender(name):
            messages = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]
            if name == "slow":
                messages.insert(0, {"type": "http.request", "body": b"{", "more_body": True})

            async def receive():
                if name == "slow" and len(messages) == 2:
                    await late.wait()
                return messages.pop(0)

            return receive

        async def click(name):
            path = f"{demo_app.PATH}{demo_app.Fence.CLICK}"
            await fence({"type": "http", "path": path, "name": name}, sender(name), None)
            late.set()

        await asyncio.wait_for(asyncio.gather(*map(click, ("slow", "second", "third"))), 5)

    asyncio.run(crowd())

    assert seen == [("second", 1), ("third", 1), ("slow", 1)]


def test_a_click_that_fails_gives_its_turn_back():
    async def broken(scope, receive, send):
        await receive()
        raise RuntimeError

    async def twice():
        fence = demo_app.Fence(broken)

        async def receive():
            return {"type": "http.request", "body": b"{}"}

        scope = {"type": "http", "path": f"{demo_app.PATH}{demo_app.Fence.CLICK}"}
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await asyncio.wait_for(fence(scope, receive, None), 5)

    asyncio.run(twice())


def test_a_new_visitor_asks_for_no_more_signatures_than_one_who_was_here(client, config, monkeypatch):
    looked, first = [], inspect._signature_from_function

    def noting(kind, function, *rest, **named):
        looked.append(function.__qualname__)
        return first(kind, function, *rest, **named)

    def looks(name):
        looked.clear()
        with visitor(client, config, name) as click:
            click("on_next", "stage1_basic", "keyword", "random")
        return len([one for one in looked if one.endswith(".__init__")])

    looks("here before")
    monkeypatch.setattr(inspect, "_signature_from_function", noting)

    assert looks("new here") == looks("here before")


# ---------------------------------------------------------------- clicks
@contextmanager
def visitor(client, config, name="visitor"):
    """Clicks as the page does: the data of a click by the name of its function, and the values that came of it."""
    numbers = {}
    for one in config["dependencies"]:
        numbers.setdefault(one["api_name"], one["id"])

    def click(function, *values):
        sent = {"data": list(values), "fn_index": numbers[function], "session_hash": name}
        joined = client.post("/demo/gradio_api/queue/join", json=sent)
        assert joined.status_code == 200, joined.text
        with client.stream("GET", f"/demo/gradio_api/queue/data?session_hash={name}") as events:
            for line in events.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    return told
        raise AssertionError("the stream ended without an answer")

    yield click


def values(told):
    assert told["success"], told
    return told["output"]["data"]


def pieces(told):
    """All HTML of an answer."""
    return " ".join(value for value in values(told) if isinstance(value, str))


def test_next_incident_is_answered_twice_without_the_truth(client, config):
    with visitor(client, config) as click:
        shown = pieces(click("on_next", "stage1_basic", "keyword", "always_dismiss"))

    assert shown.count('class="card answer"') == 2
    assert "Ground truth" not in shown
    assert not re.search(r"evidence</span>|class=\"points\"|right</span>|wrong</span>", shown)


def test_a_visitor_s_state_is_not_another_s(client, config):
    with visitor(client, config, "one") as one, visitor(client, config, "two") as two:
        one("on_seed", "stage1_basic", "11", "keyword", "random")
        two("on_seed", "stage1_basic", "22", "keyword", "random")
        shown = pieces(one("on_reveal", None, "keyword", "random"))

    assert "Incident 11 of stage1_basic" in shown
    assert "Ground truth" in shown


@pytest.mark.parametrize("seed", ["x", "-1", "1000000", "1e3", "<b>1</b>", "9" * 400, "٣"])
def test_a_seed_that_is_none_is_told_in_words_and_shown_as_text(client, config, seed):
    with visitor(client, config) as click:
        told = click("on_seed", "stage1_basic", seed, "keyword", "random")

    if seed == "٣":  # a digit of another script is a number to Python
        assert told["success"]
        return
    assert not told["success"]
    assert "Expected" in told["output"]["error"]
    assert "<b>" not in told["output"]["error"]


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("on_next", ["stage9", "keyword", "random"]),
        ("on_next", ["stage1_basic", "nobody", "random"]),
        ("on_next", ["stage1_basic", "verifier_oracle", "random"]),
        ("on_next", [None, None, None]),
        ("on_baked", [999, "keyword", "random"]),
        ("on_baked", ["1", "keyword", "random"]),
        ("on_start", ["stage1_basic", "../../etc/passwd"]),
        ("on_begin", ["nothing"]),
        ("on_seed", [{"a": 1}, ["x"], "keyword", "random"]),
    ],
)
def test_values_that_no_control_offers_are_refused(client, config, function, given):
    with visitor(client, config, f"odd-{function}") as click:
        told = click(function, *given)

    assert not told["success"]
    assert "Traceback" not in str(told)


def test_answering_before_a_game_begins_is_told(client, config):
    with visitor(client, config, "hasty") as click:
        told = click("on_send", None, "dismiss", None)

    assert not told["success"]
    assert "New game" in told["output"]["error"]


def test_the_form_of_an_attack_shows_hidden_characters_and_does_not_write_them_back(client, config):
    hidden, long = "\u202egnp.exe", "L" * 100_000
    with visitor(client, config, "attacker") as click:
        begun = values(click("on_begin", "stage1_basic"))
        incident = json.loads(begun[8])  # desk, then state, gate, claim, category, narrative, line, fields, JSON
        first = incident["events"][0]
        first["fields"]["process_cmd_line"] = hidden
        first["log_id"] = ids = "\u202e" + "i" * 50
        incident["events"][1]["log_id"] = long
        incident["narrative"] = f"{hidden} a" + "\u0489" * 200
        _, gate, _, _, narrative, line, fields, _ = values(click("on_raw", None, json.dumps(incident), None))
        rows = fields["data"]
        same = values(click("on_fields", None, ids, fields))[7]
        echo = values(click("on_narrative", None, narrative, ids))
        typed = values(click("on_narrative", None, "typed", ids))[7]

    assert "card gate wrong" in gate
    assert narrative.startswith("\\u202egnp.exe a\u0489\u0489\u0489\\u0489")
    assert len(narrative) == 1000
    assert line["choices"][0] == ["\\u202e" + "i" * 34, ids]
    assert line["value"] == ids
    assert long not in [value for _, value in line["choices"]]
    assert len(line["choices"]) == len(incident["events"]) - 1
    assert ["process_cmd_line", "\\u202egnp.exe"] in rows
    assert json.loads(same) == incident
    assert all(isinstance(value, dict) and "value" not in value for value in echo[1:])
    assert json.loads(typed) == {**incident, "narrative": "typed"}


# ---------------------------------------------------------------- the fence
@pytest.mark.parametrize(
    "path",
    [
        "/demo/gradio_api/file=/etc/passwd",
        "/demo/gradio_api/file=README.md",
        "/demo/file=README.md",
        "/demo/gradio_api/upload",
        "/demo/gradio_api/proxy=http://127.0.0.1:1/",
        "/demo/gradio_api/stream/a/b/c/playlist.m3u8",
        "/demo/gradio_api/component_server",
        "/demo/gradio_api/call/on_next",
        "/demo/gradio_api/run/predict",
        "/demo/gradio_api/openapi.json",
        "/demo/monitoring",
        "/demo/static/../../../../etc/passwd",
        "/demo/assets/%2e%2e/%2e%2e/index.html",
        "/demo/assets//etc/passwd",
        "/demox",
        "/demo/login",
    ],
)
def test_gradio_s_other_routes_are_closed(client, path):
    for method in ("GET", "POST"):
        assert client.request(method, path).status_code in (403, 404, 405), (method, path)


def test_an_upload_is_refused(client):
    sent = client.post("/demo/gradio_api/upload", files={"files": ("a.txt", b"hello")})

    assert sent.status_code == 404


def test_the_page_may_load_from_its_own_host_alone(client):
    page = client.get("/demo/")

    assert page.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert all("http" not in sources and "*" not in sources for sources in policy.values())
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)


def test_the_way_to_the_demo_keeps_the_link(client):
    home = client.get("/", follow_redirects=False)
    linked = client.get("/demo?task=stage2_multi&seed=5", follow_redirects=False)

    assert home.headers["location"] == "/demo/"
    assert linked.headers["location"] == "/demo/?task=stage2_multi&seed=5"


def test_the_rest_of_the_service_is_as_it_was(client):
    assert client.get("/health").json() == {"status": "healthy"}
    reset = client.post("/reset", json={"task": "stage1_basic", "seed": 3})
    assert reset.status_code == 200
    assert "content-security-policy" not in reset.headers
    assert not [path for path in client.get("/openapi.json").json()["paths"] if "demo" in path]


def test_a_server_can_do_without_the_demo(monkeypatch):
    monkeypatch.setenv("OPENSOC_DEMO", "0")
    with TestClient(whole_app(Settings.from_env())) as running:
        assert running.get("/demo/").status_code == 404
        assert running.get("/health").status_code == 200


def test_the_demo_s_incidents_are_not_those_of_reset(client):
    """A visitor may reveal what he likes: with the same task and seed a player of /reset has another incident."""
    played = client.post("/reset", json={"task": "stage1_basic", "seed": 7, "split": demo_data.SPLIT}).json()
    shown = demo_data.generated("stage1_basic", 7)

    assert played["observation"]["log_window"] != shown.observation["log_window"]


def test_every_event_is_out_of_the_public_api(config):
    assert all(one["api_visibility"] != "public" for one in config["dependencies"])


def test_what_fails_inside_is_told_without_its_text(client, config, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(demo_app.data, "generated", broken)
    with visitor(client, config, "unlucky") as click:
        told = click("on_next", "stage1_basic", "keyword", "random")

    assert not told["success"]
    assert "secret" not in json.dumps(told)
