"""The demo that reviewers click: Gradio Blocks over `demo_data`, mounted at /demo of the same process.

What a visitor sees and plays is kept in his own session; all HTML comes from `demo.views`, which escapes it. `demo.fence` stands before
Gradio's own routes: it lets through what the page needs, and neither uploads nor files.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import gradio as gr
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

import demo_data as data
from app_runtime.guard import Guard
from app_runtime.memory import bound_heaps
from demo import views
from demo.arena import ArenaTab
from demo.attack import AttackTab
from demo.draft import IncidentDraft
from demo.entrance import add_entrance, links
from demo.fence import PATH, Fence
from demo.head import TITLE, Head
from demo.log import LogTab
from demo.page import AT_ONCE, on, piece, styled
from demo.play import PlayTab
from demo.relay import ROOT_PATH
from demo.results import results
from demo.visits import Visits, quiet
from demo.watch import WatchTab
from rubric import TableName
from schema import TASKS

if TYPE_CHECKING:
    import uvicorn

FILES = Path(__file__).resolve().parent / "demo"
SCRIPTS = ("keys.js", "files.js", "steps.js")
FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
MONOSPACED = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
MAX_WAITING = 512  # clicks that wait; more are told to try again
MOST_WAITING = 128  # of one address
SESSIONS = 400  # visitors whose state is kept; see `Visits` for who goes first
LOOKS_S = 0.01  # between two looks at the queue; Gradio's own 1 ms take 8 % of a core from a server that nobody visits
LEAST_PACKED = 10_000  # bytes of a reply that is compressed: the page takes 23 KB in place of 214; streams and files pass as they are
STATUS_S = 10.0  # between two words to a visitor about his place in the queue, which the page does not show; Gradio's "auto" tells all at every click
WARM_UP_AFTER_S = 0.5  # from the start, so that the first answer waits for nothing
INTRO = """<div class="demo-html demo-top"><h1>OpenSOC</h1><p>A small model learns to triage security alerts. The right answer comes from events, never from claims.</p>{links}</div>"""


# ---------------------------------------------------------------- the page
def build(table: TableName = "standard", repository: str = "") -> gr.Blocks:
    """Return the page.

    Args:
        table: the reward table that answers are scored by.
        repository: the address that the page's links lead to; empty for the server's own files.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(INTRO.format(links=views.links(links(repository))))
        with gr.Tabs() as tabs:
            with gr.Tab("Watch", id="watch"):
                WatchTab(page, table)
            with gr.Tab("Play", id="play") as play_tab:
                play = PlayTab(table)
            with gr.Tab("Attack", id="attack") as attack_tab, gr.Tabs() as inner:
                with gr.Tab("You attack"):
                    attack = AttackTab(table)
                with gr.Tab("Models attack", id="models"):
                    arena = ArenaTab(table)
            with gr.Tab("Your log", id="log"):
                LogTab(table)
            with gr.Tab("Results", id="results") as tab:
                board = piece()
        on(tab.select, lambda: styled(results()), None, [board])  # type: ignore[arg-type]
        on(attack_tab.select, arena.on_open, None, [arena.matrix])  # type: ignore[arg-type]
        play.bind(page, play_tab, tabs)
        attack.bind(page, tabs)
        arena.bind(page, tabs, inner)
    page.state_session_capacity = SESSIONS
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=AT_ONCE, api_open=False, status_update_rate=STATUS_S)
    page._queue.sleep_when_free = LOOKS_S
    _remember(page)
    return page


def _remember(page: gr.Blocks) -> None:
    """Remember what Gradio works out anew in the event loop: the components' configurations for each visitor, a signature for each changed one."""
    for kind in {type(block) for block in page.blocks.values()}:
        kind.__init__.__signature__ = inspect.signature(kind.__init__)  # type: ignore[attr-defined]
    for block in page.blocks.values():
        block.get_config = block.get_config().copy  # type: ignore[assignment, method-assign]


# ---------------------------------------------------------------- the process
def mount(app: FastAPI, table: TableName = "standard", repository: str = "") -> FastAPI:
    """Put the demo under /demo of an application, and lead `GET /` there; see `build`."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    add_entrance(app)
    with ThreadPoolExecutor(1) as thread:  # where no event loop runs, Gradio makes some and leaves them open
        thread.submit(asyncio.run, _mount_page(app, table, repository)).result()
    app.router.on_startup.append(_warm_up_soon)
    return app


async def _warm_up_soon() -> None:
    """Warm up beside the first calls, not before them."""
    thread = threading.Thread(target=_warm_up, name="demo", daemon=True)
    asyncio.get_running_loop().call_later(WARM_UP_AFTER_S, thread.start)


def _warm_up() -> None:
    """Make what is made at the first click, so that the first visitor does not wait."""
    data.warm_up()
    IncidentDraft.of(data.generated(TASKS[0], 0)).judged()


async def _mount_page(app: FastAPI, table: TableName, repository: str) -> None:
    page = build(table, repository)
    quiet(page)
    gr.mount_gradio_app(
        app,
        page,
        PATH,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=0,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Soft(primary_hue="indigo", font=FONTS, font_mono=MONOSPACED),
        css=(FILES / "style.css").read_text("utf-8"),
        head="".join(f"<script>{(FILES / name).read_text('utf-8')}</script>" for name in SCRIPTS),
    )
    route = app.router.routes[-1]
    assert isinstance(route, Mount)
    assert route.path == PATH
    visits = Visits(page, most_waiting=MOST_WAITING)
    page.app.state_holder = visits
    packed = GZipMiddleware(Head(route.app), minimum_size=LEAST_PACKED, compresslevel=5)
    route.app = Fence(packed, visits)


# ---------------------------------------------------------------- a process of its own
def main(argv: Sequence[str] | None = None) -> None:
    """Serve the demo alone on a socket of the file system, until the input ends; `demo.relay.Relay` starts it so."""
    parser = argparse.ArgumentParser(description="Serve the demo alone, for OPENSOC_DEMO=process.")
    parser.add_argument("--socket", required=True, help="path of the socket to listen on")
    parser.add_argument("--table", default="standard", choices=get_args(TableName), help="reward table of the answers")
    parser.add_argument("--repository", default="", help="address that the page's links lead to")
    parser.add_argument("--max-body-bytes", type=int, default=2**19, help="longest body that is read")
    args = parser.parse_args(argv)

    import uvicorn

    bound_heaps()
    app = mount(FastAPI(openapi_url=None), args.table, args.repository)
    app.add_middleware(Guard, max_body_bytes=args.max_body_bytes)
    app.add_middleware(_Relayed)
    config = uvicorn.Config(
        app,
        uds=args.socket,
        log_level="warning",
        forwarded_allow_ips="*",  # the relay alone can open the socket
        timeout_keep_alive=75,  # s, longer than the relay keeps a connection
        timeout_graceful_shutdown=1,
        server_header=False,  # the service answers with its own
        date_header=False,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run()


class _Relayed:
    """ASGI middleware that takes the service's root path from the relay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root_path = Headers(scope=scope).get(ROOT_PATH, "")
            scope = {**scope, "root_path": root_path, "path": f"{root_path}{get_route_path(scope)}"}
        await self._app(scope, receive, send)


def _end_with_input(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
