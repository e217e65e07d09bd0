"""Two nodes behind nginx and behind HAProxy, with the files of deploy/: what the death of one costs."""

import json
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["nginx", "haproxy"])
def test_a_node_that_dies_takes_its_own_episodes_and_each_is_told(balancer):
    if not shutil.which(balancer, path=SEARCH):
        pytest.skip(f"{balancer} is not installed (apt-get install {balancer})")
    command = [sys.executable, "scripts/cluster.py", "--balancer", balancer, "--sessions", "24"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)

    for kind in ("WebSocket", "HTTP"):
        died, lives = rows[kind]["held by the node that died"], rows[kind]["held by the other"]
        assert (died > 0, lives > 0, died + lives) == (True, True, 12)
        assert (rows[kind]["lost"], rows[kind]["told in a sentence"]) == (died, died)
        assert rows[kind]["longest until it played again, s"] < 30
