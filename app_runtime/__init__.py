"""The web service: OpenSOC over HTTP, WebSocket and MCP. `create_app()` builds it; `server.py` runs it.

settings   what a deployment may set
sdk        OpenEnv's SDK, imported without its page
app        the application, put together
routes     our HTTP routes
episodes   the store of running HTTP episodes
benchmark  grades that wait for a deadline, games that say how often they were graded
openenv    OpenEnv's environment and rubric around ours, and the MCP tools
shapes     the forms of what comes in and goes out
admission  the token, and a rate for each address
watch      request ids, the access log, figures, readiness
journal    the log, in lines of JSON
guard      bounds and checks on everything that comes in
sessions   the SDK's sessions: their places, their idle times
quota      places shared among addresses
workers    several processes on one port
connections  bounds of time and bytes for a connection
"""

from . import sdk  # noqa: F401  (before whatever imports the SDK)
from .app import create_app
from .settings import Settings

__all__ = ["Settings", "create_app"]
