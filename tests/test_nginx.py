"""The whole service below /opensoc/ behind nginx, as docs/deployment.md has it: the demo in Chromium, streams of events, WebSocket, MCP, docs."""

import re
import shutil
import subprocess
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from client import OpenSOCClient
from local_provider import ServerProcess
from test_browser import CHROMIUM, FLAGS, PATIENCE_MS, button, fallen, tab
from test_server import free_port

ROOT = Path(__file__).resolve().parent.parent
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
DOCS = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "deployment.md").read_text("utf-8"), re.DOTALL)
DIRECT = {"trust_env": False, "timeout": 120}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not NGINX, reason="nginx is not installed (apt-get install nginx)"),
]

CONF = """
pid {home}/pid;
error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/a; uwsgi_temp_path {home}/b; scgi_temp_path {home}/c;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def location(how):
    """The documented block, one that says as little as possible, and one that leaves the path on."""
    return {
        "documented": DOCS.group(1),
        "the least": "location /opensoc/ { proxy_pass http://127.0.0.1:7860/; }",
        "path left on": DOCS.group(1).replace("127.0.0.1:7860/;", "127.0.0.1:7860;"),
    }[how]


@contextmanager
def served(demo):
    with ServerProcess(ROOT, env={"OPENSOC_ROOT_PATH": "/opensoc", "OPENSOC_DEMO": demo}, timeout_s=400) as running:
        for _ in range(600):
            if httpx.get(f"{running.base_url}/demo/", **DIRECT).status_code == 200:
                break
            time.sleep(0.2)
        yield running
        assert "Traceback" not in running.logs()


@pytest.fixture(scope="module")
def server():
    with served("1") as running:
        yield running


@pytest.fixture(scope="module", params=["documented", "the least", "path left on", "documented, demo in a process"])
def shown(server, request, tmp_path_factory):
    """Where nginx shows the service."""
    how, *process = request.param.split(", demo in a ")
    with (
        served("process") if process else nullcontext(server) as running,
        behind_nginx(running, how, tmp_path_factory) as url,
    ):
        yield url


@contextmanager
def behind_nginx(server, how, tmp_path_factory):
    home, port = tmp_path_factory.mktemp("nginx"), free_port()
    conf = home / "nginx.conf"
    upstream = server.base_url.removeprefix("http://")
    conf.write_text(CONF.format(home=home, port=port, location=location(how).replace("127.0.0.1:7860", upstream)))
    proxy = subprocess.Popen([NGINX, "-p", home, "-c", conf, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/", **DIRECT)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/opensoc"
    finally:
        proxy.terminate()
        proxy.wait(timeout=60)


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(chromium, shown):
    """A page on which nothing goes wrong, and from which nothing is asked outside of the path."""
    wrong = []
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    opened.on("console", lambda said: said.type == "error" and wrong.append(f"{said.text} {said.location}"))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda sent: sent.url.startswith((f"{shown}/", "data:", "blob:")) or wrong.append(sent.url))
    yield opened
    context.close()
    assert not wrong, wrong


def test_a_link_to_an_incident_stays_below_the_path_and_the_demo_is_clicked_through(page, shown):
    page.goto(f"{shown}/demo?task=stage2_multi&seed=5")
    heading = page.locator(".card.alert:visible p.over")
    expect(heading).to_contain_text("Live incident 5 · stage 2, multi")
    assert page.locator(".card.alert:visible a").evaluate("link => link.href").startswith(f"{shown}/demo/?")
    first = heading.inner_text()
    button(page, "Draw at random").click()
    expect(heading).not_to_have_text(first)
    button(page, "Reveal").click()
    fallen(page)
    tab(page, "Play")
    expect(page.locator(".card.score")).to_be_visible()


def test_the_docs_show_and_try_a_call(page, shown):
    page.goto(f"{shown}/docs")
    page.locator("#operations-OpenSOC-tasks .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator("#operations-OpenSOC-tasks .live-responses-table")).to_contain_text("stage1_basic")


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("", "/demo/"),
        ("/", "/demo/"),
        ("/demo", "/demo/"),
        ("/demo/", "/demo/"),
        ("/health/", "/health"),
        ("/docs", "/docs"),
    ],
)
def test_redirects_lead_back_below_the_path(shown, path, end):
    answer = httpx.get(f"{shown}{path}", follow_redirects=True, **DIRECT)

    assert answer.status_code == 200
    assert str(answer.url).startswith(f"{shown}{end}")


def test_episodes_are_played_over_http_websocket_and_mcp(shown, request):
    begun = httpx.post(f"{shown}/reset", json={"seed": 5}, **DIRECT)
    assert begun.status_code == 200
    assert httpx.post(f"{shown}/mcp", content="[]", headers={"content-type": "application/json"}, **DIRECT).json()[
        "error"
    ]
    if "the least" in request.node.name:
        return  # nginx passes WebSockets on where it is told to
    with OpenSOCClient(base_url=shown).sync() as client:
        assert client.reset(seed=5).observation["log_window"]
