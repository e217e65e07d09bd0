"""An OpenAI-compatible endpoint on loopback that does what a test tells it: answers, stalls, refuses, rambles, breaks off, dies."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = json.dumps({"action": "monitor", "cited_log_id": "L1-1", "rationale": "as the fake says"})
ENDLESS = object()
BREAKS_OFF = object()


@dataclass
class Fake:
    """`reply` gets the number of the request (from 0) and its body, and gives text, None, (status, headers, body), bytes as a whole body,
    or one of the two objects above. `seen` holds the bodies, `asked` how often each prompt came."""

    reply: object = lambda number, body: ANSWER
    models: tuple = ("fake-1",)
    usage: object = field(
        default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    )
    seen: list = field(default_factory=list)
    keys: set = field(default_factory=set)
    asked: Counter = field(default_factory=Counter)
    arrivals: list = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: object = field(default_factory=threading.Lock)
    url: str = ""

    def complete(self, text):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "fake-1",
                "choices": [choice],
                "usage": self.usage,
            }
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **dict(headers),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in self.server.fake.models]
        self.send(200, json.dumps({"object": "list", "data": rows}))

    def do_POST(self):
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.lock:
            number = len(fake.seen)
            fake.seen.append(body)
            fake.keys.add(self.headers.get("Authorization"))
            fake.asked[body["messages"][-1]["content"]] += 1
            fake.arrivals.append(time.monotonic())
            fake.now += 1
            fake.most = max(fake.most, fake.now)
        try:
            said = fake.reply(number, body)
        finally:
            with fake.lock:
                fake.now -= 1
        try:
            self.say(said)
        except OSError:
            self.close_connection = True

    def say(self, said):
        fake = self.server.fake
        if said is BREAKS_OFF:
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"id": "x", ')
            self.close_connection = True
        elif said is ENDLESS:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            while True:
                self.wfile.write(b"spam " * 10_000)
        elif isinstance(said, tuple):
            status, headers, body = said
            self.send(status, body if isinstance(body, str) else json.dumps(body), headers)
        elif isinstance(said, bytes):
            self.send(200, said)
        else:
            self.send(200, fake.complete(said))


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass


@contextmanager
def serving(fake, port=0):
    """The fake, answering at `fake.url` until the block ends."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.fake = fake
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refused(message, code="bad", status=400):
    """A refusal in OpenAI's form."""
    return (status, (), {"error": {"message": message, "type": "invalid_request_error", "code": code}})
