"""What several files of tests share: which of them run first, a client of the app, a server over real sockets."""

import gc
import os
import sys
from pathlib import Path

import pytest

# As many processes as cores run the tests: threads of OpenMP beside them wait for each other, and a small model takes four times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where a test asks for more

# Some hundred processes are started, and each would compile anew what it imports: half of its time, and more on fresh installations.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent.parent
LONG = (
    *("browser", "nano_loop", "audit", "train_data", "openapi", "sft", "adapters", "twins", "embedded", "demo_app"),
    *("players", "nginx", "grpo", "chain", "sets", "readme", "validation", "packaging", "nano_model", "notebook"),
    *("server", "extending", "deployments", "demo_process", "demo_views", "workers", "limits"),
    "quality_bar",
)
"""The files that take longest, the longest first: where processes share the files, short ones come last and all end together."""


def pytest_collection_modifyitems(items):
    rank = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


gc.disable()  # while the tests are collected: what is imported stays


def pytest_collection_finish():
    """Keep the garbage collector away from what was imported, which stays till the end: a tenth of the time was its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


# What a fixture imports takes seconds, and most files need neither.
@pytest.fixture
def client():
    """A client of an app of its own, which keeps cookies as a browser does."""
    from service import serve

    with serve() as client:
        yield client


@pytest.fixture(scope="session")
def server():
    """`server.py` as a process of its own, in which nothing goes wrong, after its first /reset."""
    import httpx

    from local_provider import ServerProcess

    with ServerProcess(ROOT) as server:
        reply = httpx.post(f"{server.base_url}/reset", json={"seed": 1}, trust_env=False, timeout=120)
        assert reply.status_code == 200
        server.first_reset_s = server.cpu_s()
        yield server
        assert "Traceback" not in server.logs()


@pytest.fixture(scope="session")
def url(server):
    """The address of that server."""
    return server.base_url


@pytest.fixture(scope="module")
def few_resamples():
    """Intervals of 200 resamples in place of 10,000, for tests that ask for more of a run than how wide they are."""
    from eval import compare, metrics, plot_results, report
    from eval.runs import Run

    measuring = (
        metrics.measure,
        Run.metrics,
        compare.compare,
        plot_results.charts,
        report.report,
    )
    with pytest.MonkeyPatch.context() as patch:
        for function in measuring:
            patch.setitem(function.__kwdefaults__, "resamples", 200)
        yield


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The directory of a toy model that trainers take for a real one, with eight rows in a file beside it; read, never written."""
    from toy_model import make_toy, short_rows

    home = tmp_path_factory.mktemp("home")
    short_rows(home / "short.jsonl")
    return make_toy(home / "toy")
