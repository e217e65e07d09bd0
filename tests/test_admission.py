"""Who is admitted: by the deployment's token, and within the rate of an address."""

import asyncio
import base64

import pytest
from starlette.testclient import WebSocketDenialResponse

from app_runtime.admission import Admission, address_of
from app_runtime.settings import Settings
from client.play import _client
from schema import OpenSOCError
from service import begin, problem, serve

TOKEN = "0123456789abcdef-token"


def basic(token):
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()}


# ---------------------------------------------------------------- the token
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": "Basic !!!"},
        basic("another-token-of-16"),
        {"X-Token": TOKEN},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/reset"), ("GET", "/tasks"), ("POST", "/mcp"), ("GET", "/nowhere")]
)
def test_who_does_not_know_the_token_is_turned_away_on_every_route(headers, method, path):
    with serve(token=TOKEN) as client:
        reply = client.request(method, path, headers=headers)

        assert "Authorization: Bearer TOKEN" in problem(reply, 401)
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="OpenSOC"'
        assert TOKEN not in reply.text


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer  {TOKEN}"}, basic(TOKEN)]
)
def test_who_knows_the_token_plays(headers):
    with serve(token=TOKEN) as client:
        assert client.post("/reset", headers=headers).status_code == 200
        with client.websocket_connect("/ws", headers=headers) as ws:
            ws.send_text('{"type": "reset", "data": {}}')
            assert ws.receive_json()["type"] == "observation"


def test_a_socket_without_the_token_is_not_opened():
    with serve(token=TOKEN) as client:
        for path in ("/ws", "/mcp"):
            with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path):
                pass
            assert refused.value.status_code == 401


def test_the_game_in_the_terminal_sends_the_token_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENSOC_TOKEN", TOKEN)
    with _client("http://127.0.0.1:1") as player:
        assert player._http.headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_browser_is_asked_for_a_password():
    with serve(token=TOKEN) as client:
        reply = client.get("/docs", headers={"Accept": "text/html,*/*;q=0.8"})

        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, 'Basic realm="OpenSOC"')


def test_probes_need_no_token():
    with serve(token=TOKEN, calls_per_minute=1) as client:
        assert [client.get("/health").status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("token", ["short", "with a space in it", "umlaut-ü-0123456789"])
def test_a_token_that_is_none_is_refused_and_not_repeated(token):
    with pytest.raises(OpenSOCError, match="environment variable OPENSOC_TOKEN") as refused:
        Settings.from_env({"OPENSOC_TOKEN": token})
    assert token not in str(refused.value)
    assert TOKEN not in repr(Settings(token=TOKEN))


# ---------------------------------------------------------------- the rate
def test_an_address_above_its_rate_is_told_when_to_come_back():
    with serve(calls_per_minute=3) as client:
        for _ in range(3):
            begin(client)
        reply = client.post("/reset")

        assert "at most 3 calls a minute" in problem(reply, 429)
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert client.get("/demo/theme.css").status_code == 404  # not counted, and not there without the demo


def test_a_frame_above_the_rate_waits_and_is_answered_then(monkeypatch):
    admitted, naps = iter([True, False, False, True]), []

    async def receive():
        return {"type": "websocket.receive", "text": "{}"}

    async def nap(seconds):
        naps.append(seconds)

    async def two_frames():
        return [await paced(), await paced()]

    admission = Admission(None, token="", per_minute=1)
    monkeypatch.setattr(asyncio, "sleep", nap)
    monkeypatch.setattr(admission._limiter, "hit", lambda rate, caller: next(admitted))
    monkeypatch.setattr(admission, "_wait_s", lambda caller, rate: 30.0)
    paced = admission._paced(receive, "192.0.2.7", admission._rate)

    assert [frame["text"] for frame in asyncio.run(two_frames())] == ["{}", "{}"]
    assert naps == [1.0, 1.0]  # it looks again every second


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_for_the_host_that_has_it(host, counted):
    assert address_of({"client": (host, 1)}) == counted
    assert address_of({"client": None}) == ""
