"""Start the server of the checkout that this package lies in, as a child process, and stop it again.

The module knows only the server's file, its port and that a game needs no demo; an installed client has no checkout around it.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .http_client import OpenSOCClient, OpenSOCClientError


def find_checkout() -> Path | None:
    """Return the repository root around this package, or None if the package was installed by itself."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "server.py").is_file() and (root / "openenv.yaml").is_file() else None


@contextmanager
def local_server(root: Path, *, timeout_s: float = 60.0) -> Iterator[str]:
    """Run `server.py` of a checkout on a free loopback port and yield its address.

    Raises:
        OpenSOCClientError: the server did not come up; the message ends with what it printed last.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "server.py", "--host", "127.0.0.1", "--port", str(port)],
            cwd=root,
            env={**os.environ, "OPENSOC_DEMO": "0"},  # a server without it is there in half the time
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal stops the game, which then stops its server
        )
        try:
            if not _comes_up(url, process, timeout_s):
                log.seek(0)
                output = log.read().decode(errors="replace")[-2000:]
                raise OpenSOCClientError(f"Expected server.py to answer at {url}, and it did not. It said:\n{output}")
            yield url
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _comes_up(url: str, process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    with OpenSOCClient(url, timeout_s=2.0, retries=0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.health()
                return True
            except OpenSOCClientError:  # not listening yet
                time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
