"""Run `server.py` as a process, for the runtime checks of `openenv.validation` where no Docker engine is at hand.

Where Linux lets us, the process gets a network namespace with nothing but loopback in it (tests/netns.py), so that the
network check is a measurement as it is with Docker. Elsewhere the process runs in the open and that check is skipped.
The declared CPU, memory and disk are not enforced.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path

from openenv.validation import ProviderCapability
from openenv.validation.manifest import ExecutionDeclaration
from openenv.validation.providers import StartupError
from openenv.validation.runner import source_digest
from openenv.validation.runtime.contracts import LaunchSpec

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
UNSHARE = ["unshare", "--net", *([] if IS_ROOT else ["--map-root-user"]), "--"]
NETNS = [sys.executable, "-I", str(Path(__file__).with_name("netns.py"))]


def can_isolate() -> bool:
    """Tell whether this machine lets us make network namespaces."""
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class ServerProcess:
    """`server.py` of a checkout on a free loopback port, until `stop()` or the end of a `with` block."""

    def __init__(
        self, root: Path, *, isolated: bool = False, env: dict[str, str] | None = None, timeout_s: float = 240
    ):
        self.home = tempfile.TemporaryDirectory()
        self.log_path = Path(self.home.name, "server.log")
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log_path.open("wb") as log:
            port = str(listener.getsockname()[1])
            command = [sys.executable, "server.py"]
            if isolated:
                command = [*UNSHARE, *NETNS, "relay", str(listener.fileno()), port, *command]
            else:
                listener.close()  # the server binds it itself
            self.process = subprocess.Popen(
                command,
                cwd=root,
                # Nothing of ours is inherited, and the tree that is validated must not change.
                env={"PATH": os.environ["PATH"], "HOME": self.home.name, "PYTHONDONTWRITEBYTECODE": "1"}
                | {"PORT": port}
                | (env or {}),
                pass_fds=[listener.fileno()] if isolated else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A shell that runs the tests in the background has them ignore Ctrl-C, and what they start would too.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        self.base_url = f"http://127.0.0.1:{port}"
        try:
            self._wait_until_healthy(timeout_s)
        except BaseException:
            self.stop()
            raise

    def _wait_until_healthy(self, timeout_s: float) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with opener.open(self.base_url + "/health", timeout=10):
                    return
            except OSError:  # not listening yet
                time.sleep(0.1)
        raise StartupError(f"Expected 200 from /health within {timeout_s:g} s; the server said:\n{self.logs()}")

    def cpu_s(self) -> float | None:
        """Return the CPU time that the process has taken, in seconds; None where there is no /proc."""
        try:
            times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return None
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def inspect(self) -> dict:
        return {"running": self.process.poll() is None}

    def logs(self, max_bytes: int = 65536) -> str:
        return self.log_path.read_bytes()[-max_bytes:].decode(errors="replace")

    def measure_network(self) -> dict:
        """Try one address in a namespace that has it, as a control, and in the server's."""
        user = [] if IS_ROOT else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.process.pid), "--net", *user, "--"]
        control, subject = (
            json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
            for command in ([*UNSHARE, *NETNS, "control"], [*enter, *NETNS, "probe"])
        )
        return {
            "requested_mode": "no-network",
            "subject_network_mode": "none",
            "namespace": subject["namespace"],
            "probes": [{"kind": "tcp", "control": control["tcp"], "subject": subject["tcp"]}],
        }

    def stop(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGTERM)  # the relay and the server
            self.process.wait(timeout=60)
        except ProcessLookupError:
            pass  # it has ended
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.home.cleanup()

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class LocalProvider:
    """What `run_validation(..., provider=LocalProvider())` takes in place of Docker."""

    name = "local-process"
    supported_network_modes = frozenset({"public", "no-network"})

    def __init__(self):
        self.isolated = can_isolate()
        network = {ProviderCapability.NETWORK_POLICY} if self.isolated else set()
        self.capabilities = frozenset({ProviderCapability.IMAGE_BUILD} | network)

    def build(self, root: Path, execution: ExecutionDeclaration) -> str:
        self.root = root
        return "sha256:" + source_digest(root)

    def start(self, spec: LaunchSpec) -> ServerProcess:
        isolated = self.isolated and spec.network.mode == "no-network"
        return ServerProcess(self.root, isolated=isolated, env=spec.env_vars, timeout_s=spec.startup_timeout_s)
