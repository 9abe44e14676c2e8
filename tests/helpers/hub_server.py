"""A stand-in of the Hub on this machine, for uploads and downloads: the fixture `hub`, not a test."""

import base64
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

TOKEN = "hf_tests_alone"
# As on the Hub: these are stored as large files, also when they are small.
LARGE = (".safetensors", ".parquet", ".png")
REPOSITORY = r"/api/(model|dataset|space)s/([^/]+/[^/]+)"


@dataclass
class Repository:
    """Branch -> path -> content; `commits` has (branch or "pull request", message)."""

    private: bool = False
    sdk: str | None = None
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: list[tuple[str, str]] = field(default_factory=list)


class Hub:
    """
    What the stand-in holds and saw.

    `faults` are answers in place of the right one: (method, part of the path) -> statuses, or "drop" for a connection
    that ends in the middle; each is used once.
    """

    def __init__(self):
        self.url = ""
        self.empty()

    def empty(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: dict[tuple[str, str], list] = {}
        self.requests: list[tuple[str, str]] = []
        self.received = 0

    def fault(self, method: str, path: str):
        for (of_method, part), answers in self.faults.items():
            if method == of_method and part in path and answers:
                return answers.pop(0)
        return None

    def files(self, repo_id: str, repo_type: str = "model", branch: str = "main") -> dict[str, bytes]:
        return self.repositories[repo_type, repo_id].branches[branch]


def handler_of(hub: Hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, body=None, headers=()):
            data = json.dumps(body).encode() if not isinstance(body, bytes) else body
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def handle_one(self):
            path = unquote(urlsplit(self.path).path)
            query = parse_qs(urlsplit(self.path).query)
            hub.requests.append((self.command, path))
            length = int(self.headers.get("Content-Length") or 0)
            fault = hub.fault(self.command, path)
            if fault == "drop":
                # Part of what is sent has arrived.
                self.rfile.read(length // 2)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = self.rfile.read(length)
            hub.received += length
            if fault:
                self.answer(fault, {"error": f"Error {fault} on purpose"})
                return
            if path.startswith("/objects/"):
                # The place of a large file is known to whoever got its address.
                self.put(path, body)
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid username or password."})
                return
            self.route(path, query, body)

        do_GET = do_POST = do_PUT = do_HEAD = handle_one

        def put(self, path: str, body: bytes):
            oid = path.rpartition("/")[2]
            if sha256(body).hexdigest() != oid:
                self.answer(400, {"error": "another sha256"})
                return
            hub.objects[oid] = body
            self.answer(200)

        def route(self, path: str, query: dict, body: bytes):
            if path == "/api/validate-yaml":
                content = json.loads(body)["content"]
                faults = [] if content.startswith("---\n") else [{"message": "no metadata"}]
                self.answer(200, {"errors": [], "warnings": faults})
            elif path == "/api/repos/create":
                self.create(json.loads(body))
            elif found := re.fullmatch(r"/(?:(dataset|space)s/)?(\w[^/]*/[^/]+)\.git/info/lfs/objects/batch", path):
                self.batch(found[1] or "model", found[2], json.loads(body))
            elif found := re.fullmatch(rf"{REPOSITORY}(?:/(preupload|commit|branch|revision)/(.+))?", path):
                repo_type, repo_id, what, revision = found.groups()
                repository = hub.repositories.get((repo_type, repo_id))
                if repository is None:
                    self.answer(404, {"error": "Repository not found"}, [("X-Error-Code", "RepoNotFound")])
                else:
                    getattr(self, what or "info")(repository, repo_type, repo_id, revision or "main", query, body)
            else:
                self.answer(404, {"error": f"no such address: {path}"})

        def create(self, asked: dict):
            repo_type, repo_id = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
            url = f"{hub.url}/{'' if repo_type == 'model' else f'{repo_type}s/'}{repo_id}"
            if (repo_type, repo_id) in hub.repositories:
                self.answer(409, {"error": "You already created this repo", "url": url})
                return
            private = asked.get("visibility") == "private"
            hub.repositories[repo_type, repo_id] = Repository(private, asked.get("sdk"))
            self.answer(200, {"url": url, "name": repo_id})

        def info(self, repository, repo_type, repo_id, revision, query, body):
            files = [{"rfilename": name} for name in repository.branches.get(revision, {})]
            about = {"id": repo_id, "sha": "0" * 40, "private": repository.private, "siblings": files}
            self.answer(200, {**about, "tags": [], "downloads": 0, "likes": 0})

        revision = info

        def branch(self, repository, repo_type, repo_id, revision, query, body):
            if revision in repository.branches:
                self.answer(409, {"error": "Reference already exists"})
                return
            repository.branches[revision] = dict(repository.branches["main"])
            self.answer(201, {})

        def preupload(self, repository, repo_type, repo_id, revision, query, body):
            if revision not in repository.branches:
                self.answer(404, {"error": "Invalid rev id"}, [("X-Error-Code", "RevisionNotFound")])
                return
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": modes})

        def batch(self, repo_type, repo_id, asked: dict):
            objects = []
            for one in asked["objects"]:
                upload = {"upload": {"href": f"{hub.url}/objects/{one['oid']}", "header": {}}}
                # Without actions, the content is there already.
                objects.append({**one, **({} if one["oid"] in hub.objects else {"actions": upload})})
            self.answer(200, {"transfer": "basic", "objects": objects}, [("Content-Type", "application/json")])

        def commit(self, repository, repo_type, repo_id, revision, query, body):
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            pull_request = query.get("create_pr") == ["1"]
            files = dict(repository.branches[revision])
            message = ""
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    message = value["summary"]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            branch = "refs/pr/1" if pull_request else revision
            repository.branches[branch] = files
            repository.commits.append((branch, message))
            address = f"{hub.url}/{repo_id}"
            found = {"success": True, "commitOid": "1" * 40, "commitUrl": f"{address}/commit/{'1' * 40}"}
            self.answer(200, {**found, "pullRequestUrl": f"{address}/discussions/1" if pull_request else None})

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture(scope="module")
def hub_server():
    """Serve on a free port; the libraries of this process take it for the Hub, and have its token."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        # The protocol of the other storage is spoken by a library that is not Python.
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(_http.time, "sleep", lambda seconds: None)
        patch.setenv("HF_TOKEN", TOKEN)
        try:
            yield hub
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            _http.close_session()


@pytest.fixture
def hub(hub_server):
    """An empty Hub. Making a client of it for each test would take longer than the tests."""
    hub_server.empty()
    return hub_server
