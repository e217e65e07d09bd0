"""Import OpenEnv's SDK without its web page, which nobody sees here: Gradio with it takes half of a start's CPU time and 110 MB.

The SDK does so by itself where Gradio is not installed. The demo imports Gradio where it is served.
"""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_PAGE = "openenv.core.env_server.web_interface"

if "openenv.core" not in _modules:
    _modules[_PAGE] = None  # so that an import of it fails
    import openenv.core  # noqa: F401

    del _modules[_PAGE]
