"""OpenEnv's base classes, without the web server that importing their package starts up.

`import openenv.core` runs the whole SDK (FastAPI, Gradio, FastMCP: seconds, 160 MB), though the base classes need pydantic alone.
Here the three modules that define them are loaded beneath parent packages that have not been executed; the parents are then
forgotten. A later `import openenv.core` runs in full and finds these very modules, so there is one class of each name
(tests/test_openenv_base.py; the modules are then reached by `from ... import`, as everybody does, not as attributes). Where the SDK is loaded already, or is laid out otherwise, it is imported as usual.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
    from openenv.core.rubrics.base import Rubric
else:
    _PARENTS = ("openenv.core", "openenv.core.env_server", "openenv.core.rubrics")

    def _load() -> tuple:
        parked = []
        try:
            for name in _PARENTS:
                if name not in sys.modules:
                    spec = importlib.util.find_spec(name)
                    sys.modules[name] = importlib.util.module_from_spec(spec)
                    parked.append(name)
            return (
                importlib.import_module("openenv.core.env_server.types"),
                importlib.import_module("openenv.core.env_server.interfaces"),
                importlib.import_module("openenv.core.rubrics.base"),
            )
        finally:
            for name in parked:
                sys.modules.pop(name, None)
                parent, _, child = name.rpartition(".")
                if parent in sys.modules:
                    vars(sys.modules[parent]).pop(child, None)

    try:
        _types, _interfaces, _rubrics = _load()
    except (ImportError, AttributeError):
        _types = importlib.import_module("openenv.core.env_server.types")
        _interfaces = importlib.import_module("openenv.core.env_server.interfaces")
        _rubrics = importlib.import_module("openenv.core.rubrics.base")
    Action, EnvironmentMetadata, Observation, State = (
        _types.Action,
        _types.EnvironmentMetadata,
        _types.Observation,
        _types.State,
    )
    Environment, Rubric = _interfaces.Environment, _rubrics.Rubric

__all__ = ["Action", "Environment", "EnvironmentMetadata", "Observation", "Rubric", "State"]
