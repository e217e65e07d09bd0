"""A hub on the loopback that speaks what huggingface_hub asks of the real one when a folder is pushed: repositories, uploads, secrets, a Space's stages.

Files that are large or binary go through the LFS endpoints, as on the real hub. A Space that was pushed is built by `launch`, and then goes through
`stages`, one for each question about its runtime; `files_of` gives what was committed.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse

LFS_BYTES = 10_000_000  # of a text file; the hub looks at the kind of file too
BINARY = (".onnx", ".png", ".gif", ".gz", ".safetensors", ".evtx")


@dataclass
class Repository:
    """What the hub holds of one repository."""

    sdk: str | None
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)  # paths that came through LFS
    commits: list[dict] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return hashlib.sha1(json.dumps([commit["summary"] for commit in self.commits]).encode()).hexdigest()


class FakeHub:
    """The hub's state, its app, and what a test may bend.

    Args:
        user: who has the tokens `hf_write` and `hf_read`, of which the second only reads.
        stages: what a Space's runtime says, one after the other; the last one stays.
    """

    def __init__(self, user: str = "ada", stages: tuple[str, ...] = ("BUILDING", "APP_STARTING", "RUNNING")):
        self.user, self.stages = user, stages
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.refuse: dict[str, tuple[int, str]] = {}  # part of a path -> status and sentence
        self.looks = 0
        self.space_url = "http://127.0.0.1:9"  # where the Space answers
        self.launch = lambda files, secrets: (
            self.space_url
        )  # builds a Space from its files, and returns where it answers
        self.builder = threading.Thread()
        self.build_log = ["Step 1", "ERROR: no space left"]
        self.url = ""
        self.app = FastAPI()
        self.app.middleware("http")(self._guard)
        self._routes()

    def files_of(self, kind: str, name: str) -> dict[str, bytes]:
        return self.repositories[f"{kind}s/{self.user}/{name}"].files

    async def _guard(self, request: Request, go_on):
        self.calls.append(f"{request.method} {request.url.path}")
        for part, (status, sentence) in self.refuse.items():
            if part in request.url.path:
                return JSONResponse({"error": sentence}, status, headers={"X-Error-Message": sentence})
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in ("hf_write", "hf_read") and not request.url.path.startswith("/blobs/"):
            return JSONResponse({"error": "Invalid credentials"}, 401)
        return await go_on(request)

    def _find(self, kind: str, owner: str, name: str) -> Repository:
        found = self.repositories.get(f"{kind}/{owner}/{name}")
        if found is None:
            raise HTTPException(404, headers={"X-Error-Code": "RepoNotFound"})
        return found

    def _routes(self) -> None:
        app = self.app

        @app.get("/api/whoami-v2")
        def whoami(request: Request):
            role = "read" if request.headers["authorization"].endswith("hf_read") else "write"
            return {"name": self.user, "orgs": [{"name": "lab"}], "auth": {"accessToken": {"role": role}}}

        @app.post("/api/repos/create")
        async def create(request: Request):
            asked = await request.json()
            kind, owner = asked.get("type", "model"), asked["organization"] or self.user
            key = f"{kind}s/{owner}/{asked['name']}"
            url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{owner}/{asked['name']}"
            if key in self.repositories:
                return JSONResponse({"error": "You already created this repo", "url": url}, 409)
            self.repositories[key] = Repository(asked.get("sdk"), asked.get("visibility") == "private")
            self.repositories[key].commits.append({"summary": "initial commit"})
            return {"url": url}

        @app.post("/api/validate-yaml")
        async def validate(request: Request):
            return (
                {"errors": [], "warnings": []}
                if (await request.json())["content"].startswith("---\n")
                else {"warnings": [{"message": "empty"}]}
            )

        @app.post("/api/{kind}/{owner}/{name}/preupload/{revision}")
        async def preupload(kind: str, owner: str, name: str, request: Request):
            there = self._find(kind, owner, name)
            return {"files": [self._mode(there, asked) for asked in (await request.json())["files"]]}

        @app.post("/{path:path}.git/info/lfs/objects/batch")
        async def batch(path: str, request: Request):
            asked = (await request.json())["objects"]
            return {"transfer": "basic", "objects": [self._upload(one) for one in asked]}

        @app.put("/blobs/{oid}")
        async def blob(oid: str, request: Request):
            content = await request.body()
            assert hashlib.sha256(content).hexdigest() == oid
            self.blobs[oid] = content
            return PlainTextResponse("")

        @app.post("/api/{kind}/{owner}/{name}/commit/{revision}")
        async def commit(kind: str, owner: str, name: str, request: Request):
            there = self._find(kind, owner, name)
            for line in (await request.body()).splitlines():
                self._apply(there, **json.loads(line))
            if kind == "spaces":
                self._build(there)
            return {"commitUrl": f"{self.url}/{owner}/{name}/commit/{there.head}", "commitOid": there.head}

        @app.get("/api/{kind}/{owner}/{name}/tree/{revision}")
        def tree(kind: str, owner: str, name: str):
            files = self._find(kind, owner, name).files
            return [
                {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
                for path, content in files.items()
            ]

        @app.get("/api/spaces/{owner}/{name}/secrets")
        def secrets(owner: str, name: str):
            return {key: {"updatedAt": "2026-11-27T12:00:00.000Z"} for key in self._find("spaces", owner, name).secrets}

        @app.post("/api/spaces/{owner}/{name}/secrets")
        async def add_secret(owner: str, name: str, request: Request):
            asked = await request.json()
            self._find("spaces", owner, name).secrets[asked["key"]] = asked["value"]
            return {}

        @app.get("/api/spaces/{owner}/{name}/runtime")
        def runtime(owner: str, name: str):
            stage = self.stages[min(self.looks, len(self.stages) - 1)]
            self.looks += not self.builder.is_alive()
            return {"stage": stage, "hardware": {"current": "cpu-basic"}, "sha": self._find("spaces", owner, name).head}

        @app.get("/api/spaces/{owner}/{name}/logs/{which}")
        def logs(which: str):
            return PlainTextResponse("".join(f"data: {json.dumps({'data': line})}\n\n" for line in self.build_log))

        @app.get("/api/{kind}/{owner}/{name}")
        @app.get("/api/{kind}/{owner}/{name}/revision/{revision}")
        def info(kind: str, owner: str, name: str):
            there = self._find(kind, owner, name)
            return {
                "id": f"{owner}/{name}",
                "sha": there.head,
                "host": self.space_url,
                "private": there.private,
                "tags": [],
                "siblings": [],
            }

    def _build(self, there: Repository) -> None:
        def build():
            self.space_url = self.launch(there.files, there.secrets)

        self.looks = 0
        self.builder = threading.Thread(target=build)
        self.builder.start()

    def _mode(self, there: Repository, asked: dict) -> dict:
        path = asked["path"]
        large = asked["size"] > LFS_BYTES or path.endswith(BINARY)
        old = there.files.get(path)
        oid = None if old is None else hashlib.sha256(old).hexdigest() if large else _blob(old)
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def _upload(self, asked: dict) -> dict:
        if asked["oid"] in self.blobs:
            return asked  # the hub has it
        return asked | {"actions": {"upload": {"href": f"{self.url}/blobs/{asked['oid']}"}}}

    def _apply(self, there: Repository, key: str, value: dict) -> None:
        match key:
            case "header":
                there.commits.append(value | {"summary": f"{value['summary']} ({len(there.commits)})"})
            case "file":
                there.files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                there.files[value["path"]] = self.blobs[value["oid"]]
                there.large.add(value["path"])
            case "deletedFile":
                del there.files[value["path"]]

    @contextmanager
    def serving(self):
        """Serve on a free port of the loopback, until the end of the `with` block."""
        server = uvicorn.Server(uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # as git names it
