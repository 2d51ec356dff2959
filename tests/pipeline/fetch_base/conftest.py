"""A fake hub on 127.0.0.1 for the real client, huggingface_hub."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

from fishdvc.base import published
from fishdvc.base.published import PUBLISHED_REVISION, PublishedFile

CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Hub:
    """Contents and behaviour of the server.

    Attributes:
        files: Contents by name. A ``.pth`` is redirected to another host, as large files are.
        commit: The only commit. The branch "main" points to it.
        prefix: Path of the hub on the server.
        token: Token that a client must send to read files.
        status: Answer every request with this status and a web page.
        cuts: Numbers of bytes after which connections are cut, by name of the file.
        requests: Method, path, range and token of each request.
    """

    files: dict[str, bytes]
    repository: str = "fishaudio/fish-speech-1.5"
    commit: str = PUBLISHED_REVISION
    prefix: str = ""
    token: str | None = None
    status: int | None = None
    cuts: dict[str, list[int]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    port: int = 0

    def ranges(self, name: str) -> list[str | None]:
        """Ranges of the requests for a file's bytes, after the redirect."""
        end = f"/cdn/{name}" if name.endswith(".pth") else f"/{name}"
        return [r[2] for r in self.requests if r[0] == "GET" and r[1].endswith(end)]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, token, path = self.hub, self.headers["Authorization"], urlsplit(self.path).path
        if path.endswith("/api/agent-harnesses"):  # The client asks this once a day.
            return self.answer(404)
        hub.requests.append((self.command, path, self.headers["Range"], token))
        if hub.status:
            return self.answer(hub.status, b"<html>")
        if path.startswith("/cdn/"):
            return self.send_file(path.removeprefix("/cdn/"))
        pattern = rf"{hub.prefix}/(?:api/models/)?(.+?)/(revision|tree|resolve)/([^/]+)/?(.*)"
        match = re.fullmatch(pattern, path)
        if not match:
            return self.answer(404)
        repository, kind, revision, name = match.groups()
        if repository != hub.repository:
            return self.answer(401, **{"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", hub.commit):
            return self.answer(404, **{"X-Error-Code": "RevisionNotFound"})
        if kind == "revision":
            return self.answer(200, json.dumps({"id": repository, "sha": hub.commit}).encode())
        if kind == "tree":
            sizes = {name: len(content) for name, content in hub.files.items()}
            tree = [{"type": "file", "path": k, "size": v, "oid": "0"} for k, v in sizes.items()]
            return self.answer(200, json.dumps(tree).encode())
        if hub.token and token != f"Bearer {hub.token}":
            return self.answer(401, **{"X-Error-Code": "GatedRepo"})
        headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{sha256(hub.files[name])}"'}
        if not name.endswith(".pth"):
            return self.send_file(name, **headers)
        headers |= {
            "Location": f"http://localhost:{hub.port}/cdn/{name}",
            "X-Linked-Size": str(len(hub.files[name])),
            "X-Linked-ETag": headers["ETag"],
            "X-Xet-Hash": sha256(hub.files[name]),
            "Link": f'<http://127.0.0.1:{hub.port}/xet-read-token>; rel="xet-auth"',
        }
        return self.answer(302, **headers)

    def send_file(self, name: str, **headers: str) -> None:
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        body = self.hub.files[name][start:]
        headers["Content-Length"] = str(len(body))
        if self.command == "GET" and self.hub.cuts.get(name):
            body = body[: self.hub.cuts[name].pop(0)]
            self.close_connection = True
        self.answer(206 if start else 200, body, **headers)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def set_endpoint(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the client's endpoint and cache, which it reads from the environment when imported."""

    def set_endpoint(endpoint: str) -> None:
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(work / "hf_home/hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(work / "hf_home/token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # The client waits before it retries.
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return set_endpoint


@pytest.fixture
def hub(set_endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The client's hub. Its base is the published one; no hash of the tokenizer is known."""
    files = {
        "config.json": b"{}",
        "model.pth": bytes(range(251)) * 1000,
        "tokenizer.tiktoken": b"YQ== 0\n",
        "special_tokens.json": b'{"<|pad|>": 1}',
        CODEC: bytes(range(251)) * 100,
        "model.safetensors": b"Not needed.",
    }
    known = {
        name: PublishedFile(num_bytes=len(files[name]), sha256=sha256(files[name]))
        for name in ("config.json", "model.pth", CODEC)
    }
    known["tokenizer.tiktoken"] = PublishedFile(num_bytes=7)
    reconstructed = ("0" * 64, sha256(files["special_tokens.json"]))
    known["special_tokens.json"] = PublishedFile(num_bytes=14, reconstructed_sha256=reconstructed)
    monkeypatch.setattr(published, "PUBLISHED_FILES", known)

    hub = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.port = server.server_port
    set_endpoint(f"http://127.0.0.1:{hub.port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield hub
    server.shutdown()
    huggingface_hub.close_session()
    server.server_close()
    thread.join()
