"""A hub on 127.0.0.1, for huggingface_hub's real client.

It answers HEAD and GET of ``/<repository>/resolve/<revision>/<file>`` as the Hugging Face Hub does:
small files itself, large ones by a redirect to another host (here ``localhost``), with the headers
of its Xet storage. It can refuse, cut connections and stall.
"""

import hashlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from fishdvc.base.published import PUBLISHED_REVISION

CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Hub:
    """What the server holds and how it behaves; tests change it while it runs.

    Attributes:
        files: Contents by name; those of ``.pth`` are large: redirected.
        token: What a client must show; ``None`` lets all in.
        status: Answer this to everything.
        headers: Further headers of every refusal.
        cuts: Per file, after how many bytes of a body the connection breaks; used up in order.
        reset: Whether it breaks by a reset instead of an early end.
        stall: If set, a cut body stays open until this is set.
        without_hub_headers: Answer as any web server does.
    """

    files: dict[str, bytes]
    repository: str = "fishaudio/fish-speech-1.5"
    branches: dict[str, str] = field(default_factory=lambda: {"main": PUBLISHED_REVISION})
    prefix: str = ""
    token: str | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    reset: bool = False
    stall: threading.Event | None = None
    without_hub_headers: bool = False
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def fetched(self, name: str) -> list[str | None]:
        """The ranges asked for in GET requests of a file's bytes, wherever they lie."""
        paths = (f"/cdn/{name}",) if name.endswith(".pth") else (f"{PUBLISHED_REVISION}/{name}",)
        return [r.range for r in self.requests if r.method == "GET" and r.path.endswith(paths)]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, token = self.hub, self.headers["Authorization"]
        if self.path == f"{hub.prefix}/api/agent-harnesses":
            # The client asks this of its own accord, once a day, to word its User-Agent.
            return self.refuse(404, {})
        hub.requests.append(Request(self.command, self.path, self.headers["Range"], token))
        if self.path.startswith("/cdn/"):
            return self.send_body(self.path.removeprefix("/cdn/"), {})
        match = re.fullmatch(rf"{hub.prefix}/(.+)/resolve/([^/]+)/(.+)", self.path)
        if hub.status or not match:
            return self.refuse(hub.status or 404, hub.headers)
        repository, revision, name = match.groups()
        commit = hub.branches.get(revision, revision)
        if hub.token and token != f"Bearer {hub.token}":
            return self.refuse(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        if repository != hub.repository:
            return self.refuse(404 if token else 401, {"X-Error-Code": "RepoNotFound"})
        if commit not in hub.branches.values():
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if name not in hub.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return self.refuse(404, headers)
        content = hub.files[name]
        if hub.without_hub_headers:
            return self.send_body(name, {})
        if not name.endswith(".pth"):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return self.send_body(name, {"X-Repo-Commit": commit, "ETag": f'"{blob}"'})
        sha256 = hashlib.sha256(content).hexdigest()
        self.send_response(302)
        xet_token = f"{hub.endpoint}/api/models/{repository}/xet-read-token/{commit}"
        headers = {
            "Location": f"http://localhost:{hub.port}/cdn/{name}",
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{sha256}"',
            "X-Xet-Hash": sha256,
            "Link": f'<{xet_token}>; rel="xet-auth"',
            "Content-Length": "0",
        }
        self.end_with(headers)
        return None

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.end_with({"Content-Length": "0", **headers})

    def end_with(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_body(self, name: str, headers: dict[str, str]) -> None:
        content = self.hub.files[name]
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(ranged[1]) if ranged else 0
        body = content[start:]
        self.send_response(206 if ranged else 200)
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.end_with({"Content-Length": str(len(body)), **headers})
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(name)
        if not cuts:
            self.wfile.write(body)
            return
        self.wfile.write(body[: cuts.pop(0)])
        if self.hub.stall:
            self.hub.stall.wait(30)
        self.close_connection = True
        if self.hub.reset:
            # Closing without lingering sends a reset in place of an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that holds a whole base without a codec's JSON, and more."""
    pattern = bytes(range(251))
    hub = Hub(
        files={
            "config.json": b"{}",
            "model.pth": pattern * 1000,
            "tokenizer.tiktoken": b"YQ== 0\n",
            "special_tokens.json": b'{"<|pad|>": 1}',
            CODEC: pattern * 100,
            "README.md": b"Not needed.",
            "model.safetensors": b"Not needed.",
        }
    )
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield hub
    if hub.stall:
        hub.stall.set()
    server.shutdown()
    huggingface_hub.close_session()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def resolve_loopback(host: Any, *args: Any, **kwargs: Any) -> Any:
        assert host in LOOPBACK, f"a request to {host}"
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Point the client, which reads its environment when imported, to an endpoint: no waiting."""

    def point(endpoint: str) -> None:
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf_home/hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf_home/token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.setattr("time.sleep", lambda _seconds: None)

    return point


@pytest.fixture
def connected(hub: Hub, connect: Callable[[str], None]) -> Hub:
    """The hub, and the client in this process pointed to it."""
    connect(hub.endpoint)
    return hub


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Take files for the published ones: hashes of two kinds, and of the tokenizer none."""

    def take(files: dict[str, bytes]) -> None:
        from fishdvc.files import published_base

        def facts(name: str, content: bytes) -> published_base.PublishedFile:
            sha256 = hashlib.sha256(content).hexdigest()
            if name == "special_tokens.json":
                return published_base.PublishedFile(
                    num_bytes=len(content), reconstructed_sha256=("0" * 64, sha256)
                )
            known = None if name == "tokenizer.tiktoken" else sha256
            return published_base.PublishedFile(num_bytes=len(content), sha256=known)

        table = {name: facts(name, files[name]) for name in published_base.PUBLISHED_FILES}
        monkeypatch.setattr(published_base, "PUBLISHED_FILES", table)

    return take
