"""The demo over HTTP: what the fence lets through, what the visitors' clicks get, what stays hidden. Clicks in a browser are in test_browser.py."""

import asyncio
import gc
import inspect
import json
import re
import threading
import time
from contextlib import contextmanager

import gradio as gr
import pytest
from gradio.blocks import Block
from gradio.queueing import Queue
from starlette.testclient import TestClient

import demo_app
import demo_data
from app_runtime import Settings
from app_runtime.guard import BODY
from demo.attack import Desk
from demo.draft import IncidentDraft
from demo.fence import JOIN, PATH, Fence
from schema import MAX_EVENTS
from server import whole_app

# Gradio leaves the event loops that it asked for open; they are collected here, where nobody minds.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def wait_until_warm():
    """Wait for what the demo makes ready in a thread: it loads models, asks for signatures, and has tuples under construction."""
    for thread in threading.enumerate():
        if thread.name == "demo":
            thread.join()


@pytest.fixture(scope="module")
def client():
    with TestClient(whole_app(Settings())) as running:
        wait_until_warm()
        yield running
    gc.collect()


@pytest.fixture(scope="module")
def config(client):
    return client.get("/demo/config").json()


# ---------------------------------------------------------------- a crowd
CLICK = {
    "type": "http",
    "method": "POST",
    "root_path": PATH,
    "path": f"{PATH}{JOIN}",
    BODY: {"data": [], "fn_index": 1, "session_hash": "crowd"},
}


class Page:
    """A page whose clicks carry nothing."""

    def inputs(self, click):
        return 0

    def is_waiting(self, session):
        return True

    def welcome(self, session, address):
        return True


async def nothing():
    return {"type": "http.disconnect"}


def test_clicks_go_one_after_the_other():
    at_work, seen = 0, []

    async def gradio(scope, receive, send):
        nonlocal at_work
        at_work += 1
        seen.append((json.loads((await receive())["body"])["fn_index"], at_work))
        await asyncio.sleep(0.01)
        at_work -= 1

    async def crowd():
        fence = Fence(gradio, Page())
        clicks = ({**CLICK, BODY: {**CLICK[BODY], "fn_index": number}} for number in range(3))
        await asyncio.wait_for(asyncio.gather(*(fence(click, nothing, None) for click in clicks)), 5)

    asyncio.run(crowd())

    assert seen == [(0, 1), (1, 1), (2, 1)]


def test_a_click_that_fails_gives_its_turn_back():
    async def broken(scope, receive, send):
        raise RuntimeError

    async def twice():
        fence = Fence(broken, Page())
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await asyncio.wait_for(fence(CLICK, nothing, None), 5)

    asyncio.run(twice())


def test_no_signature_is_asked_for_where_values_alone_change(client, config, monkeypatch):
    looked, first = [], inspect._signature_from_function

    def noting(kind, function, *rest, **named):
        looked.append(function.__qualname__)
        return first(kind, function, *rest, **named)

    def looks(name):
        looked.clear()
        with visitor(client, config, name) as click:
            click("on_draw", None, "stage1_basic", "keyword", "random")
        return len([one for one in looked if one.endswith(".__init__")])

    looks("here-before")
    monkeypatch.setattr(inspect, "_signature_from_function", noting)

    assert (looks("here-before"), looks("new-here")) == (0, 0)


def test_values_are_passed_on_as_they_are_but_a_table(client, config, monkeypatch):
    """Gradio would hand each to a thread of its own."""
    asked = []

    def noting(kind):
        first = kind.postprocess
        monkeypatch.setattr(kind, "postprocess", lambda self, value: asked.append(kind) or first(self, value))

    with visitor(client, config, "plain-one") as click:
        click("on_draw", None, "stage1_basic", "keyword", "random")
        for kind in (gr.HTML, gr.Dropdown, gr.Textbox, gr.Plot, gr.Dataframe):
            noting(kind)
        assert click("on_draw", None, "stage1_basic", "keyword", "random")
        assert "plotly" in str(click("on_figures", None))
        assert asked == []
        assert click("on_begin", "stage1_basic")
        assert gr.Dataframe in asked


def test_a_new_visitor_has_no_configuration_worked_out_but_that_of_what_changed(client, config, monkeypatch):
    asked, first = [], Block.get_config

    def noting(block, kind=None):
        asked.append(block._id)
        return first(block, kind)

    monkeypatch.setattr(Block, "get_config", noting)
    with visitor(client, config, "another-one") as click:
        shown = click("on_draw", None, "stage1_basic", "keyword", "random")

    assert shown
    assert len(set(asked)) < 10 < len(config["components"])


def test_no_statistics_are_made_of_the_clicks(client, config, monkeypatch):
    made = []
    monkeypatch.setattr(Queue, "_get_df", staticmethod(made.append))
    with visitor(client, config, "a-third-one") as click:
        shown = click("on_draw", None, "stage1_basic", "keyword", "random")

    assert shown
    assert not made


def test_no_event_loop_is_left_open():
    def left():
        wait_until_warm()
        gc.collect()
        loops = (one for one in gc.get_objects() if issubclass(type(one), asyncio.BaseEventLoop))  # no look at proxies
        return {id(one) for one in loops if not one.is_closed()}

    before = left()
    app = whole_app(Settings())

    assert app
    assert left() <= before


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


BEGUN_JSON = 10  # after tabs, two buttons, state, gate, claim, category, narrative, line and fields


def values(told):
    assert told["success"], told
    return told["output"]["data"]


def pieces(told):
    """All HTML of an answer."""
    return " ".join(value for value in values(told) if isinstance(value, str))


def test_next_incident_is_answered_twice_without_the_truth(client, config):
    with visitor(client, config) as click:
        shown = pieces(click("on_draw", None, "stage1_basic", "keyword", "always_dismiss"))

    assert shown.count('class="card answer"') == 2
    assert "What is right" not in shown
    assert not re.search(r"evidence</span>|class=\"worth\"|right</span>|wrong</span>", shown)


def test_a_model_is_asked_once_for_an_incident_its_reveal_and_its_figures(client, config, monkeypatch):
    asked = []

    def noting(name, case, table="standard", ask=demo_data.ask):
        asked.append(name)
        return ask(name, case, table)

    monkeypatch.setattr(demo_data, "ask", noting)
    pair = ("keyword", "always_dismiss")
    with visitor(client, config, "asking") as click:
        click("on_draw", None, "stage1_basic", *pair)
        click("on_figures", None)
        shown = pieces(click("on_go", None, "stage1_basic", *pair))

    assert "What is right" in shown
    assert asked == list(pair)


def test_the_page_is_compressed_for_who_takes_it_so(client):
    plain, packed = (client.get("/demo/", headers={"Accept-Encoding": named}) for named in ("identity", "gzip"))

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 5
    assert "<title>OpenSOC" in packed.text


def test_a_visitor_s_state_is_not_another_s(client, config):
    with visitor(client, config, "one") as one, visitor(client, config, "two") as two:
        one("on_seed", None, "stage1_basic", "11", "keyword", "random")
        two("on_seed", None, "stage1_basic", "22", "keyword", "random")
        shown = pieces(one("on_go", None, "stage1_basic", "keyword", "random"))

    assert "Live incident 11 · stage 1, basic" in shown
    assert "What is right, by the verifier" in shown


@pytest.mark.parametrize("seed", ["x", "-1", "1000000", "1e3", "<b>1</b>", "9" * 400, "٣"])
def test_a_seed_that_is_none_is_told_in_words_and_shown_as_text(client, config, seed):
    with visitor(client, config) as click:
        told = click("on_seed", None, "stage1_basic", seed, "keyword", "random")

    if seed == "٣":  # a digit of another script is a number to Python
        assert told["success"]
        return
    assert not told["success"]
    assert "Expected" in told["output"]["error"]
    assert "<b>" not in told["output"]["error"]


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("on_draw", [None, "stage9", "keyword", "random"]),
        ("on_draw", [None, "stage1_basic", "nobody", "random"]),
        ("on_draw", [None, "stage1_basic", "verifier_oracle", "random"]),
        ("on_draw", [None, None, None, None]),
        ("on_baked", [None, 999, "keyword", "random"]),
        ("on_baked", [None, "1", "keyword", "random"]),
        ("on_start", [None, "stage1_basic", "../../etc/passwd"]),
        ("on_begin", ["nothing"]),
        ("on_seed", [None, ["a"], ["x"], "keyword", "random"]),
    ],
)
def test_values_that_no_control_offers_are_refused(client, config, function, given):
    with visitor(client, config, f"odd-{function}") as click:
        told = click(function, *given)

    assert not told["success"]
    assert "Traceback" not in str(told)


@pytest.mark.parametrize("function", ["on_go", "on_defender"])
def test_a_visit_without_an_incident_is_told_to_take_one(client, config, function):
    with visitor(client, config, f"late-{function}") as click:
        told = click(function, None, "stage1_basic", "keyword", "random")

    assert not told["success"]
    assert "Reload the page" in told["output"]["error"]


def test_a_list_that_was_passed_by_changes_nothing(client, config):
    with visitor(client, config, "passing") as click:
        click("on_draw", None, "stage1_basic", "keyword", "random")
        same, other = (
            click("on_defender", None, "stage1_basic", "keyword", name) for name in ("random", "always_dismiss")
        )
        none, one = (click("on_baked", None, number, "keyword", "random") for number in (None, 2))
        again = click("on_baked", None, 2, "keyword", "random")

    assert [pieces(told) for told in (same, none, again)] == ["", "", ""]
    assert "always_dismiss" in pieces(other)
    assert "Incident 2 of 50" in pieces(one)


def test_a_game_s_incident_has_neither_link_nor_seed_to_its_answer(client, config):
    with visitor(client, config, "player") as click:
        shown = pieces(click("on_start", None, "stage1_basic", "keyword")) + pieces(
            click("on_send", None, "monitor", "L1-1", "stage1_basic", "keyword")
        )

    assert "card alert" in shown
    assert "to this incident" not in shown
    assert shown.count("Incident 1 of 10 · stage 1, basic") == 2
    assert "seed" not in shown


def test_a_desk_knows_what_the_page_has_not_got_yet_from_what_is_typed():
    one = IncidentDraft.of(demo_data.generated("stage1_basic", 3))
    two = one._replace(text=one.text + " ")
    desk = Desk(one).holding(one, ["", one.text]).heard(one.text).holding(two, ["", two.text])

    assert not desk.typed(one.text)  # the page sends before it has the form's last edit
    assert not desk.typed(two.text)
    assert desk.typed(two.text + " ")
    assert not desk.typed("")  # an empty narrative was given
    assert not desk.echoes(one.text, desk.draft.text)  # an undo in the page is typing
    assert desk.echoes(two.text, "")


def test_a_desk_keeps_no_texts_but_its_draft():
    draft = IncidentDraft.of(demo_data.generated("stage1_basic", 3))
    desk = Desk(draft)
    for number in range(1_000):
        desk = desk.holding(draft, [f"{number}" * 1_000])

    assert (len(desk.written), len(desk.awaited)) == (256, 8)
    assert all(isinstance(one, int) for one in (*desk.written, *desk.awaited))


def test_answering_before_a_game_begins_is_told(client, config):
    with visitor(client, config, "hasty") as click:
        told = click("on_send", None, "dismiss", None, "stage1_basic", "keyword")

    assert not told["success"]
    assert "New game" in told["output"]["error"]


def test_the_form_offers_no_more_lines_than_an_incident_may_have(client, config):
    with visitor(client, config, "lengthy") as click:
        incident = json.loads(values(click("on_begin", "stage1_basic"))[BEGUN_JSON])
        incident["events"] = [{**incident["events"][0], "log_id": f"L1-{number}"} for number in range(1, 100)]
        line = values(click("on_raw", None, json.dumps(incident), None))[5]

    assert len(line["choices"]) == MAX_EVENTS


def test_the_form_of_an_attack_shows_hidden_characters_and_does_not_write_them_back(client, config):
    hidden, long = "\u202egnp.exe", "L" * 100_000
    with visitor(client, config, "attacker") as click:
        begun = values(click("on_begin", "stage1_basic"))
        incident = json.loads(begun[BEGUN_JSON])
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


def test_a_narrative_that_is_typed_and_cleared_again_is_gone(client, config):
    with visitor(client, config, "clearing") as click:
        click("on_begin", "stage1_basic")
        click("on_narrative", None, "a", None)
        click("on_narrative", None, "", None)
        click("on_add", None, "process")
        click("on_narrative", None, "abc", None)
        cleared = values(click("on_narrative", None, "", None))[7]

    assert json.loads(cleared)["narrative"] == ""


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


@pytest.mark.parametrize("where", ["value", "list", "table", "metadata", "nested"])
@pytest.mark.parametrize("what", ["file", "address", "escaped"])
def test_no_file_is_read_and_no_address_asked_for_a_click(client, config, tmp_path, where, what):
    """Gradio copies what such an object names into its own folder, and tells the page where."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    named = {"path": str(secret) if what != "address" else "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}}
    table = {"headers": ["field", "value"], "data": [["a", "b"]], "metadata": None}
    value = {
        "value": named,
        "list": ["a", named],
        "table": {**table, "data": [["a", named]]},
        "metadata": {**table, "metadata": {"data": named}},
        "nested": {"data": [{"headers": [named]}]},
    }[where]
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "on_next")
    sent = json.dumps({"data": [value, "keyword", "random"], "fn_index": number, "session_hash": "thief"})
    if what == "escaped":
        sent = sent.replace("_type", "\\u005ftype").replace("path", "p\\u0061th")

    answer = client.post("/demo/gradio_api/queue/join", content=sent, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert "Expected a click" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"fn_index": 1}', b'{"data": {"path": "/etc/passwd"}}'])
def test_a_click_without_plain_data_is_refused(client, body):
    answer = client.post("/demo/gradio_api/queue/join", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422


def test_an_upload_is_refused(client):
    sent = client.post("/demo/gradio_api/upload", files={"files": ("a.txt", b"hello")})
    begun = client.post("/demo/gradio_api/upload")

    assert (sent.status_code, begun.status_code) == (400, 404)  # a body that is no JSON goes nowhere at all


def test_the_page_may_load_from_its_own_host_alone(client):
    page = client.get("/demo/")

    assert page.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy.pop("frame-ancestors") == "'self' https://huggingface.co"
    assert all("http" not in sources and "*" not in sources for sources in policy.values())
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    assert 'rel="icon" href="../favicon.ico"' in page.text
    assert "manifest" not in page.text


def test_the_way_to_the_demo_keeps_the_link(client):
    home = client.get("/", follow_redirects=False)
    linked = client.get("/demo?task=stage2_multi&seed=5", follow_redirects=False)

    assert home.headers["location"] == "/demo/"
    assert linked.headers["location"] == "/demo/?task=stage2_multi&seed=5"


def test_the_rest_of_the_service_is_as_it_was(client):
    assert client.get("/health").json() == {"status": "healthy"}
    reset = client.post("/reset", json={"task": "stage1_basic", "seed": 3})
    assert reset.status_code == 200
    assert "script-src" not in reset.headers["content-security-policy"]
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

    monkeypatch.setattr(demo_data, "generated", broken)
    with visitor(client, config, "unlucky") as click:
        told = click("on_draw", None, "stage1_basic", "keyword", "random")

    assert not told["success"]
    assert "secret" not in json.dumps(told)


def test_the_demo_warms_up_beside_the_first_calls_and_not_before_them(monkeypatch):
    warmed = []
    monkeypatch.setattr(demo_app, "_warm_up", lambda: warmed.append(threading.current_thread().name))
    monkeypatch.setattr(demo_app, "WARM_UP_AFTER_S", 0.3)
    with TestClient(whole_app(Settings())) as client:
        assert client.get("/health").status_code == 200
        assert warmed == []
        time.sleep(1)

    assert warmed == ["demo"]
