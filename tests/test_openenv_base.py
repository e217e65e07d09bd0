"""The base classes without the web server: one class of each name, whichever way it is imported first."""

import subprocess
import sys

import pytest

WEB = "('fastapi', 'starlette', 'uvicorn', 'gradio', 'fastmcp')"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_an_episode_is_played_in_process_without_any_web_package():
    code = f"""
import sys
from env import OpenSOCEnv
env = OpenSOCEnv()
first = env.reset(seed=1)
last = env.step({{"submit_triage": {{"action": "monitor", "cited_log_id": first.log_window[0]["log_id"], "rationale": "x"}}}})
print(last.done, [name for name in sys.modules if name.split(".")[0] in {WEB}])
"""

    assert run(code) == "True []\n"


@pytest.mark.parametrize(
    "order", ["import openenv_base; import openenv.core", "import openenv.core; import openenv_base"]
)
def test_there_is_one_class_of_each_name(order):
    code = f"""
{order}
from openenv.core import env_server, rubrics
from openenv.core.env_server import interfaces, types
from openenv.core.rubrics import base as rubrics_base
import openenv_base as base
print(
    base.Environment is env_server.Environment is interfaces.Environment,
    base.Action is env_server.Action is types.Action,
    base.Observation is env_server.Observation,
    base.State is env_server.State,
    base.Rubric is rubrics.Rubric is rubrics_base.Rubric,
)
"""

    assert run(code) == "True True True True True\n"
