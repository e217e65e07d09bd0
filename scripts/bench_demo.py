"""Measure the demo for whoever changes it, in one run: python scripts/bench_demo.py [--visitors 50] [--clicks 5] [--gap 5]

1. Chromium times the first paint of /demo, and the way from a click on Draw at random to both answers, in turn with a Gradio page that holds one button.
2. So many visitors click in the same moment, again and again with a gap for reading (--gap 0: without a rest), while a client in its own process plays
   /reset and /step over HTTP. The command counts errors and times a click (the incident, then its figures) and a step, beside the same client alone:
   with the demo in the server's process, and in one of its own (OPENSOC_DEMO=process).
3. The command reads the server's memory with the demo after all that, and without the demo after the same steps: resident memory of the server's process,
   which without the demo holds Gradio too, as openenv-core imports it.

It prints the machine's load before it begins: times mean little where that is not near 0, memory does not depend on it.

It runs on Linux alone, as scripts/bench_env.py does, needs the packages of requirements-dev.txt and Chromium for the first part, and talks to loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
from bench_servers import TRIAGE, free_port, rss_mb, server

PEER = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    text = gr.Textbox("Next incident")
    gr.Button("Go").click(lambda: "done", None, text)
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
"""
APART = multiprocessing.get_context("spawn")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PAINTED = "performance.getEntriesByType('paint').find((one) => one.name === '{name}').startTime"


# ---------------------------------------------------------------- in the browser
@contextlib.contextmanager
def peer() -> Iterator[str]:
    """Run a Gradio page with one button, and yield its URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"},
    )
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def in_the_browser(url: str, rounds: int) -> dict[str, list[float]]:
    """Time first paints and clicks, in ms."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"demo": [], "demo, text": [], "peer": [], "next": [], "reveal": []}
    with peer() as other, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(rounds):
            for name, address, ready in (("peer", other, "text=Go"), ("demo", f"{url}/demo/", ".card.alert")):
                context = browser.new_context()
                page = context.new_page()
                page.goto(address)
                page.wait_for_selector(ready)
                found[name].append(page.evaluate(PAINTED.format(name="first-paint")))
                if name == "demo":
                    found["demo, text"].append(page.evaluate(PAINTED.format(name="first-contentful-paint")))
                    page.wait_for_timeout(1500)
                    for _ in range(5):
                        found["next"].append(_next(page))
                        found["reveal"].append(_reveal(page))
                        page.wait_for_timeout(300)
                context.close()
        browser.close()
    return found


def _next(page: Any) -> float:
    """Measure the milliseconds from a click on Draw at random until the page has another alert, which comes together with both answers."""
    return float(
        page.evaluate(
            """() => new Promise((done) => {
              const shown = () => document.querySelector('.card.alert').innerText;
              const before = shown(), began = performance.now();
              const look = () => shown() !== before && document.querySelectorAll('.card.answer').length >= 2
                ? done(performance.now() - began) : requestAnimationFrame(look);
              [...document.querySelectorAll('button')].find((one) => one.innerText.trim() === 'Draw at random').click();
              look();
            })"""
        )
    )


def _reveal(page: Any) -> float:
    """Measure the milliseconds from a click on Reveal until the page says what is right."""
    return float(
        page.evaluate(
            """() => new Promise((done) => {
              const began = performance.now();
              const look = () => document.querySelector('.card.ruling') ? done(performance.now() - began) : requestAnimationFrame(look);
              [...document.querySelectorAll('button')].find((one) => one.innerText.trim() === 'Reveal').click();
              look();
            })"""
        )
    )


# ---------------------------------------------------------------- many visitors
async def visitor(
    client: httpx.AsyncClient, number: int, clicks: int, gap_s: float, ids: dict[str, int], pair: list[str]
) -> tuple[list[float], int]:
    """Clicks of one visitor, and their figures: milliseconds of each, and how many failed."""
    took, failed, started = [], 0, time.perf_counter()
    for place in range(clicks):
        await asyncio.sleep(max(0.0, started + place * gap_s - time.perf_counter()))
        for function, values in (("on_draw", [None, "stage2_multi", *pair]), ("on_figures", [None])):
            began = time.perf_counter()
            try:
                ok = await _click(client, f"visitor{number}", ids[function], values)
            except httpx.HTTPError:
                ok = False
            took.append((time.perf_counter() - began) * 1000)
            failed += not ok
    return took, failed


async def _click(client: httpx.AsyncClient, session: str, number: int, values: list[Any]) -> bool:
    sent = {"data": values, "fn_index": number, "session_hash": session}
    joined = await client.post("/demo/gradio_api/queue/join", json=sent)
    if joined.status_code != 200:
        return False
    async with client.stream("GET", "/demo/gradio_api/queue/data", params={"session_hash": session}) as events:
        async for line in events.aiter_lines():
            if line.startswith("data:") and '"process_completed"' in line:
                return bool(json.loads(line.removeprefix("data:"))["success"])
    return False


async def visitors(url: str, count: int, clicks: int, gap_s: float) -> dict[str, Any]:
    """Clicks of so many visitors: milliseconds of each, how many failed, and how long all of it took."""
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as client:
        config = (await client.get("/demo/config")).json()
        ids: dict[str, int] = {}
        for one in config["dependencies"]:
            ids.setdefault(one["api_name"], one["id"])
        labels = ("Baseline", "Model")
        pair = [one["props"]["value"] for one in config["components"] if one["props"].get("label") in labels]
        began = time.perf_counter()
        done = await asyncio.gather(*(visitor(client, number, clicks, gap_s, ids, pair) for number in range(count)))
        lasted = time.perf_counter() - began
    return {
        "pair": pair,
        "took": [one for took, _ in done for one in took],
        "failed": sum(bad for _, bad in done),
        "lasted_s": lasted,
    }


# ---------------------------------------------------------------- steps beside them
def click(found: Any, *given: Any) -> None:
    """Let visitors click. They bring processors of their own, so here they take what server and player leave."""
    os.nice(10)
    found.put(asyncio.run(visitors(*given)))


def play(found: Any, url: str, over: Any, least: int) -> None:
    """Play episodes over HTTP, `least` and until `over` is set: milliseconds of each step, and how many failed."""
    took, failed, seed = [], 0, 0
    with httpx.Client(base_url=url, timeout=120) as client:
        while not over.is_set() or len(took) < least:
            seed += 1
            episode = {"X-Episode-ID": f"bench-{os.getpid()}-{seed}"}
            begun = client.post("/reset", json={"seed": seed, "episode_id": episode["X-Episode-ID"]})
            began = time.perf_counter()
            stepped = client.post("/step", json={"submit_triage": TRIAGE}, headers=episode)
            took.append((time.perf_counter() - began) * 1000)
            failed += begun.status_code != 200 or stepped.status_code != 200
            time.sleep(0.005)
    found.put({"took": took, "failed": failed})


@contextlib.contextmanager
def apart(work: Callable[..., None], *given: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start a process of its own for `work`, and yield what waits for its result."""
    found = APART.Queue()
    process = APART.Process(target=work, args=(found, *given), daemon=True)
    process.start()
    try:
        yield lambda: found.get(timeout=600)
    finally:
        process.terminate()
        process.join()


def steps(url: str, number: int) -> dict[str, Any]:
    """Time so many steps alone."""
    over = APART.Event()
    over.set()
    with apart(play, url, over, number) as player:
        return player()


def crowd(url: str, count: int, clicks: int, gap_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time clicks, and the steps beside them."""
    over = APART.Event()
    with apart(play, url, over, 50) as player, apart(click, url, count, clicks, gap_s) as visiting:
        clicked = visiting()
        over.set()
        return clicked, player()


def told(values: list[float]) -> str:
    """Write the median and the 95th percentile of milliseconds."""
    return f"median {statistics.median(values):,.1f} ms, 95 % within {np.percentile(values, 95):,.1f} ms"


def ready(url: str) -> None:
    """Wait until the demo answers, and has warmed up."""
    while httpx.get(f"{url}/demo/config", timeout=30).status_code != 200:
        time.sleep(0.5)
    time.sleep(8)


def browsed(url: str, rounds: int) -> None:
    """Print what the browser measures, where there is one."""
    if not shutil.which("chromium") or not importlib.util.find_spec("playwright"):
        print("Chromium or Playwright is not installed: first paint and clicks in a browser were not measured.")
        return
    found = in_the_browser(url, rounds)
    paint, other = statistics.median(found["demo"]), statistics.median(found["peer"])
    print(
        f"First paint of /demo: {paint:,.0f} ms, of a Gradio page with one button {other:,.0f} ms, ratio {paint / other:.2f} (bound: 1,000 ms)"
    )
    print(f"First text of /demo: {told(found['demo, text'])}")
    print(f"Next incident to both answers: {told(found['next'])} (bound: 300 ms)")
    print(f"Reveal to the right answer: {told(found['reveal'])} (bound: 300 ms)")


def crowded(url: str, count: int, clicks: int, gap_s: float) -> int:
    """Print what a crowd's clicks take, and steps beside them and alone; return how many steps that were."""
    alone = steps(url, 300)
    clicked, beside = crowd(url, count, clicks, gap_s)
    failed = alone["failed"] + clicked["failed"] + beside["failed"]
    print(
        f"{count} visitors ({' and '.join(clicked['pair'])}), {len(clicked['took'])} clicks in {clicked['lasted_s']:.1f} s, {failed} failed; a click: {told(clicked['took'])}"
    )
    ratio = statistics.median(beside["took"]) / statistics.median(alone["took"])
    print(f"/step alone: {told(alone['took'])}; while they click: {told(beside['took'])}; ratio of medians {ratio:.2f}")
    return len(alone["took"]) + len(beside["took"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo beside a minimal Gradio page and beside no demo.")
    parser.add_argument("--visitors", type=int, default=50, help="who click at once (default: 50)")
    parser.add_argument("--clicks", type=int, default=5, help="of each visitor (default: 5)")
    parser.add_argument("--gap", type=float, default=5.0, help="seconds between a visitor's clicks (default: 5)")
    parser.add_argument("--rounds", type=int, default=5, help="visits in the browser, 0 for none (default: 5)")
    args = parser.parse_args()
    print(f"Load average of the last minute: {os.getloadavg()[0]:.1f}")
    for mode, where in (("process", "In a process of its own"), ("1", "In the server's process")):
        os.environ["OPENSOC_DEMO"] = mode
        with server("opensoc") as (url, pid, _):
            ready(url)
            at_start = rss_mb(pid)
            print(f"{where} (OPENSOC_DEMO={mode}):")
            if mode == "1" and args.rounds:
                browsed(url, args.rounds)
            played = crowded(url, args.visitors, args.clicks, args.gap)
            with_demo = rss_mb(pid)
    os.environ["OPENSOC_DEMO"] = "0"
    with server("opensoc") as (url, pid, _):
        steps(url, played)
        without = rss_mb(pid)
    print(
        f"Memory: {without:.0f} MiB without the demo, {at_start:.0f} MiB with it after its start, {with_demo:.0f} MiB after the visits, "
        f"{with_demo - without:.0f} MiB more (bound: 150)"
    )


if __name__ == "__main__":
    main()
