"""What the tests of the web service share: an app of their own, and answers to send."""

import json

from starlette.testclient import TestClient

from app_runtime import Settings, create_app

TRIAGE = {"action": "monitor", "cited_log_id": "L1-1", "rationale": "Odd, and nothing explains it."}


def serve(**settings):
    """A client of a new app, to be used in a `with` block; it keeps cookies as a browser does."""
    return TestClient(create_app(Settings(**settings)))


def begin(client, **asked):
    """Reset and give the answer."""
    reply = client.post("/reset", json=asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


def problem(reply, status):
    """The sentence of an error, after a look at its form."""
    assert reply.status_code == status, (reply.status_code, reply.text[:500])
    body = strict(reply.text)
    assert set(body) == {"detail"}
    assert isinstance(body["detail"], str)
    assert len(body["detail"].split()) > 3
    assert "Traceback" not in body["detail"]
    return body["detail"]


def strict(text):
    """Parse JSON as the standard has it, without NaN and Infinity."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
