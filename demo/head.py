"""Say what the page is to whoever shares its address: title, description and picture, in the place of Gradio's own tags. Imports no gradio."""

from __future__ import annotations

import html
import re

from starlette._utils import get_route_path
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.fence import PATH

TITLE = "OpenSOC: watch a model learn to triage security alerts"
DESCRIPTION = (
    "An alert fires. Is it an attack, and what should be done? A language model learns to answer, and a verifier, which believes no claim, decides who is right. "
    "Watch it learn, play against it, attack it, or bring your own log."
)
PICTURE = "/social.png"
# Both of Gradio's would be asked of the host's root, which may be another's.
_MANIFEST = '<link rel="manifest" href="/manifest.json" />'
_ICON = '<link rel="icon" href="../favicon.ico" />'
_OTHERS = re.compile(r"<(?:meta\s[^>]*?(?:property|name)=\"(?:og:|twitter:)[^>]*|title>[^<]*</title)>\s*")
_HEAD = "<head>"


def tagged(page: str, address: str, root: str) -> str:
    """Return a page with our tags in the place of all others of Open Graph (ogp.me) and of X's cards, and with our title.

    Args:
        page: the HTML.
        address: of the page.
        root: the address under which the service stands, without a slash at its end.
    """
    shared = {
        "og:type": "website",
        "og:site_name": "OpenSOC",
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:url": address,
        "og:image": f"{root}{PICTURE}",
        "og:image:width": "1200",
        "og:image:height": "630",
        "twitter:card": "summary_large_image",
        "twitter:title": TITLE,
        "twitter:description": DESCRIPTION,
        "twitter:image": f"{root}{PICTURE}",
    }
    tags = [f"<title>{TITLE}</title>", _meta("name", "description", DESCRIPTION)]
    tags += [_meta("name" if name.startswith("twitter") else "property", name, value) for name, value in shared.items()]
    return _OTHERS.sub("", page).replace(_HEAD, f"{_HEAD}{''.join(tags)}", 1).replace(_MANIFEST, _ICON)


def _meta(kind: str, name: str, value: str) -> str:
    return f'<meta {kind}="{name}" content="{html.escape(value)}">'


class Head:
    """ASGI middleware that writes our tags into the page at its root; whatever else is asked for passes as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Collect the page, and send it with other tags."""
        if scope["type"] != "http" or get_route_path(scope) != "/":
            await self._app(scope, receive, send)
            return
        request, body = Request(scope), bytearray()
        begun: Message = {}

        async def collected(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.update(message)
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                root = f"{request.url.scheme}://{request.url.netloc}{scope.get('app_root_path', '')}"
                address = f"{root}{PATH}/"
                content = tagged(body.decode(), address, root).encode()
                await send({**begun, "headers": _measured(begun["headers"], len(content))})
                await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, collected)


def _measured(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*others, (b"content-length", str(length).encode())]
