"""What the service tells browsers, what it refuses pages of other sites, and its addresses below a path."""

import re

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient, WebSocketDenialResponse

from app_runtime import Settings, create_app
from service import TRIAGE, problem, serve


@pytest.fixture(scope="module")
def client():
    with serve() as running:
        yield running


# ---------------------------------------------------------------- calls of other sites
EVIL = {"origin": "https://evil.example"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "headers",
    [
        EVIL,
        {**EVIL, **FORM},
        {**EVIL, "content-type": "text/plain"},
        {"origin": "null"},
        {"origin": "http://testserver:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://other.testserver"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    ],
)
def test_a_simple_request_of_another_site_is_refused(client, headers):
    said = problem(client.post("/reset", headers=headers, content=b""), 403)

    assert "another site" in said


@pytest.mark.parametrize(
    "headers",
    [
        {},
        FORM,  # curl -d
        {"content-type": "text/plain"},
        {"origin": "http://testserver"},
        {"sec-fetch-site": "same-origin", "origin": "https://shown.example"},
        {"sec-fetch-site": "none"},
        {"x-forwarded-host": "shown.example", "origin": "https://shown.example"},
        {**EVIL, "content-type": "application/json"},  # a browser asks first, and gets no leave
    ],
)
def test_programs_and_pages_of_this_host_play(client, headers):
    assert client.post("/reset", headers=headers, content=b"").status_code == 200


def test_reading_is_free_to_all_and_shown_to_no_other_page(client):
    answer = client.get("/tasks", headers=EVIL)

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert client.options("/reset", headers={**EVIL, "access-control-request-method": "POST"}).status_code == 405


@pytest.mark.parametrize("path", ["/ws", "/mcp"])
def test_a_websocket_of_another_site_s_page_is_refused(client, path):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path, headers=EVIL):
        pass

    assert refused.value.status_code == 403


def test_a_websocket_of_a_program_or_of_this_host_plays(client):
    for headers in ({}, {"origin": "http://testserver"}):
        with client.websocket_connect("/ws", headers=headers) as ws:
            ws.send_json({"type": "reset", "data": {"seed": 5}})
            assert ws.receive_json()["type"] == "observation"


# ---------------------------------------------------------------- headers
def test_every_answer_tells_browsers_that_it_is_no_page_and_who_may_embed_it(client):
    for answer in (client.get("/health"), client.get("/nowhere"), client.post("/reset", headers=EVIL)):
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; frame-ancestors 'self' https://huggingface.co"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_deployment_says_who_may_embed_it():
    with serve(frame_ancestors="'none'") as running:
        assert running.get("/health").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("value", ["", "a; script-src *", "a,b", "a\nb", " a"])
def test_no_other_directive_comes_with_who_may_embed_it(value):
    with pytest.raises(ValidationError):
        Settings(frame_ancestors=value)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_docs_load_from_this_host_alone(client, path):
    page = client.get(path)
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)

    assert addresses
    for address in addresses:
        assert address.startswith("/docs/files/")
        assert client.get(address).status_code == 200
    assert "http" not in page.headers["content-security-policy"].replace("https://huggingface.co", "")


# ---------------------------------------------------------------- below a path
@pytest.fixture(scope="module", params=["taken off", "left on", "by the server"])
def below(request):
    """A service below /opensoc, behind a proxy that takes the path off, one that leaves it on, or with uvicorn's --root-path."""
    server = "/opensoc" if request.param == "by the server" else ""
    with TestClient(create_app(Settings(root_path="/opensoc/")), root_path=server) as running:
        if request.param != "taken off":
            running.base_url = running.base_url.join("/opensoc/")
        yield running


def test_an_episode_is_played_below_a_path(below):
    begun = begin_at(below, "reset")
    step = below.post("step", json={"submit_triage": TRIAGE, "episode_id": begun["observation"]["episode_id"]})

    assert step.json()["done"]
    assert below.get("nowhere").json()["detail"].startswith("There is no /nowhere here.")
    assert below.get("step").headers["allow"] == "POST"


def begin_at(client, path):
    answer = client.post(path, json={"seed": 5})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_websocket_and_mcp_work_below_a_path(below):
    with below.websocket_connect("ws") as ws:
        ws.send_json({"type": "reset", "data": {"seed": 5}})
        assert ws.receive_json()["type"] == "observation"
    with below.websocket_connect("mcp") as ws:
        ws.send_text("[]")  # of the guard, not of the SDK
        assert "JSON-RPC" in ws.receive_json()["error"]["message"]
    assert below.post("mcp", content="[]").json()["error"]["code"] == -32600


def test_the_docs_and_redirects_name_the_path(below):
    assert '"/opensoc/docs/files/swagger-ui-bundle.js"' in below.get("docs").text
    assert below.get("openapi.json").json()["servers"] == [{"url": "/opensoc"}]
    assert below.get("health/", follow_redirects=False).headers["location"] == "/opensoc/health"


@pytest.mark.parametrize(("given", "root"), [("/opensoc", "/opensoc"), ("/a/b-c.d/", "/a/b-c.d"), ("/", ""), ("", "")])
def test_a_root_path_is_taken_without_its_last_slash(given, root):
    assert Settings(root_path=given).root_path == root


@pytest.mark.parametrize("given", ["opensoc", "//a", "/a/../b", "/a?b", "/a b", "http://a/b"])
def test_what_is_no_root_path_is_refused(given):
    with pytest.raises(ValidationError):
        Settings(root_path=given)
