"""The demo that reviewers click: Gradio Blocks over `demo_data`, mounted at /demo of the same process.

What a visitor sees and plays is kept in his own session; all HTML comes from `demo.views`, which escapes it. `demo.fence` stands before
Gradio's own routes: it lets through what the page needs, and neither uploads nor files.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount

import demo_data as data
from demo.attack import AttackTab
from demo.draft import IncidentDraft
from demo.fence import PATH, Fence
from demo.log import LogTab
from demo.page import AT_ONCE, on, piece, styled
from demo.play import PlayTab
from demo.results import results
from demo.visits import Visits, quiet
from demo.watch import WatchTab
from rubric import TableName
from schema import TASKS

FILES = Path(__file__).resolve().parent / "demo"
SCRIPTS = ("keys.js", "files.js")
FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
MONOSPACED = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
MAX_WAITING = 512  # clicks that wait; more are told to try again
MOST_WAITING = 128  # of one address
SESSIONS = 400  # visitors whose state is kept; see `Visits` for who goes first
LOOKS_S = 0.01  # between two looks at the queue; Gradio's own 1 ms take 8 % of a core from a server that nobody visits
STATUS_S = 10.0  # between two words to a visitor about his place in the queue, which the page does not show; Gradio's "auto" tells all at every click
INTRO = """<div class="demo-html"><h1>OpenSOC: triage an incident</h1>
<p>An alert fires. Is it an attack, and what should be done? Read the lines and the world around them, compare two defenders, then reveal
what a deterministic verifier says. Every incident is made up, and its answer is computed, never written.</p></div>"""

ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#4f46e5" d="M8 1l6 2v5c0 4-3 6-6 7-3-1-6-3-6-7V3z"/></svg>'


# ---------------------------------------------------------------- the page
def build(table: TableName = "standard") -> gr.Blocks:
    """Return the page.

    Args:
        table: the reward table that answers are scored by.
    """
    with gr.Blocks(title="OpenSOC: triage an incident", analytics_enabled=False) as page:
        gr.HTML(INTRO)
        with gr.Tabs():
            with gr.Tab("Before and after"):
                WatchTab(page, table)
            with gr.Tab("You triage"):
                PlayTab(table)
            with gr.Tab("You attack"):
                AttackTab(table)
            with gr.Tab("Your log"):
                LogTab(table)
            with gr.Tab("Results") as tab:
                board = piece()
        on(tab.select, lambda: styled(results()), None, [board])  # type: ignore[arg-type]
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
def mount(app: FastAPI, table: TableName = "standard") -> FastAPI:
    """Put the demo under /demo of an application, and lead `GET /` there."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    app.add_route("/", _home, include_in_schema=False)
    app.add_route(PATH, _home, include_in_schema=False)
    app.add_route("/favicon.ico", _icon, include_in_schema=False)
    with ThreadPoolExecutor(1) as thread:  # where no event loop runs, Gradio makes some and leaves them open
        thread.submit(asyncio.run, _mount_page(app, table)).result()
    threading.Thread(target=_warm_up, name="demo", daemon=True).start()
    return app


def _warm_up() -> None:
    """Make what is made at the first click, so that the first visitor does not wait."""
    data.warm_up()
    IncidentDraft.of(data.generated(TASKS[0], 0)).judged()


async def _home(request: Request) -> Response:
    """Lead to the page, with the query that came, below whatever path the service stands at."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PATH}/{query}")


async def _icon(request: Request) -> Response:
    return Response(ICON, media_type="image/svg+xml")


async def _mount_page(app: FastAPI, table: TableName) -> None:
    page = build(table)
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
    route.app = Fence(route.app, visits)
