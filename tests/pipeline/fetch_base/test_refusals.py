"""fetch_base from a hub: whatever goes wrong is said in one message, and the old base stays."""

import shutil
import socket
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from fishdvc.base.published import PUBLISHED_REVISION
from fishdvc.errors import CheckpointError
from fishdvc.pipeline.fetch_base import fetch_base

REPOSITORY = "fishaudio/fish-speech-1.5"
CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"


@pytest.fixture(autouse=True)
def _publish(hub: Any, publish: Callable[[dict[str, bytes]], None]) -> None:
    publish(hub.files)


@pytest.fixture
def refusal(shipped: Any) -> Callable[..., str]:
    """Fetch, which must fail; return the message. The base that was there must be left alone."""
    old = Path("data/base/config.json")

    def fail(**changes: Any) -> str:
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_text("old")
        with pytest.raises(CheckpointError) as caught:
            fetch_base(shipped("base", **{"source": REPOSITORY, **changes}), base=old.parent)
        assert [path.name for path in Path("data").rglob("*")] == ["base", "config.json"]
        assert old.read_text() == "old"
        return str(caught.value)

    return fail


def bodies(hub: Any) -> list[Any]:
    return [request for request in hub.requests if request.method == "GET"]


def test_without_a_network(refusal: Any, connect: Callable[[str], None]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        connect(endpoint)
        assert refusal() == (
            f"{REPOSITORY}/config.json: {endpoint} cannot be reached ([Errno 111] Connection "
            "refused); check the network, or set HF_ENDPOINT to a mirror, and run it again: what "
            "has arrived is kept"
        )


def test_offline_on_purpose(refusal: Any, connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = "not in the cache (HF_HOME), and HF_HUB_OFFLINE is set; unset it"
    assert refusal() == f"{REPOSITORY}/config.json: {message}"
    assert not connected.requests


@pytest.mark.parametrize("token", [None, "hf_of_another"])
def test_gated(
    token: str | None, refusal: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.token = "hf_secret"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert refusal() == (
        f"{REPOSITORY}/config.json: the repository is gated; accept its terms at "
        f"{connected.endpoint}/{REPOSITORY}, then set HF_TOKEN to a token of that account"
    )


@pytest.mark.parametrize("source", ["fishaudio/fish-speech-15", "data/my_base"])
def test_no_such_repository(source: str, refusal: Any, connected: Any) -> None:
    assert refusal(source=source) == (
        f"{source}/config.json: there is no folder {source!r} here, and {connected.endpoint} has "
        "no such repository or shows it to others only; mend base.source, or set HF_TOKEN"
    )


@pytest.mark.parametrize("source", ["my/own/base", "/models/fish speech"])
def test_neither_a_folder_nor_the_name_of_a_repository(
    source: str, refusal: Any, connected: Any
) -> None:
    assert f"base.source {source!r} is neither a folder here nor the name of" in refusal(
        source=source
    )
    assert not connected.requests


def test_no_such_revision(refusal: Any, connected: Any) -> None:
    connected.branches["main"] = "b" * 40
    message = f"the repository has no revision '{PUBLISHED_REVISION}'; mend base.revision"
    assert refusal() == f"{REPOSITORY}/config.json: {message}"


def test_every_file_that_is_missing(refusal: Any, connected: Any) -> None:
    del connected.files["tokenizer.tiktoken"], connected.files[CODEC]
    assert refusal(revision="main").splitlines() == [
        f"{REPOSITORY} at main: no base model; mend base.source, base.revision or "
        "base.codec_checkpoint (2 problems):",
        f"  {REPOSITORY}/tokenizer.tiktoken: the repository has no such file",
        f"  {REPOSITORY}/{CODEC}: the repository has no such file",
    ]
    assert not bodies(connected)


def test_a_missing_codec_of_one_s_own(refusal: Any, connected: Any, work: Path) -> None:
    assert refusal(codec_checkpoint="./mine.pth") == (
        f"base.codec_checkpoint: no such file: {work}/mine.pth; mend it, or give a bare name for a "
        "file of the repository"
    )
    assert not connected.requests


@pytest.mark.parametrize(
    ("status", "headers", "todo"),
    [
        (503, {}, "try again later, or set HF_ENDPOINT to a mirror"),
        (500, {}, "try again later, or set HF_ENDPOINT to a mirror"),
        (429, {}, "it wants fewer requests; wait some minutes, or set HF_TOKEN"),
        (403, {}, "the token may not read this; set HF_TOKEN to one that may"),
        (404, {}, "it has no such page; mend HF_ENDPOINT"),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            "it does not know the token; mend HF_TOKEN, or unset it",
        ),
    ],
)
def test_other_refusals(
    status: int, headers: dict[str, str], todo: str, refusal: Any, connected: Any
) -> None:
    connected.status, connected.headers = status, headers
    message = f"{connected.endpoint} answered {status}: {todo}"
    assert refusal() == f"{REPOSITORY}/config.json: {message}"


def test_a_busy_hub_is_asked_again(refusal: Any, connected: Any) -> None:
    connected.status = 503
    refusal()
    assert len(connected.requests) > 3


def test_a_server_that_is_no_hub(refusal: Any, connected: Any) -> None:
    connected.without_hub_headers = True
    assert refusal() == (
        f"{REPOSITORY}/config.json: {connected.endpoint} does not answer as a hub does; "
        "mend HF_ENDPOINT, or the proxy in between"
    )


@pytest.mark.parametrize("endpoint", ["hf-mirror.com", "http://127.0.0.1:one"])
def test_an_endpoint_that_is_no_address(
    endpoint: str, refusal: Any, connect: Callable[[str], None]
) -> None:
    connect(endpoint)
    assert refusal().endswith(
        f"{endpoint} is no address; set HF_ENDPOINT to one such as https://huggingface.co"
    )


def test_another_size_than_the_published_one_is_not_fetched(refusal: Any, connected: Any) -> None:
    connected.files["model.pth"] += b"more"
    assert refusal() == (
        f"{REPOSITORY}/model.pth: 251,004 bytes, published are 251,000; "
        "the server (HF_ENDPOINT) has another file: set another"
    )
    assert not bodies(connected)


@pytest.mark.parametrize("name", ["model.pth", "config.json", CODEC])
def test_another_hash_than_the_published_one(name: str, refusal: Any, connected: Any) -> None:
    connected.files[name] = bytes(len(connected.files[name]))
    message = refusal()
    assert message.startswith(f"{REPOSITORY}/{name}: not the published file: ")
    to_delete = Path(message.split("; delete ")[1].split(" and run it again")[0])
    to_delete.unlink()


def test_another_size_of_a_file_without_a_hash(refusal: Any, connected: Any) -> None:
    connected.files["tokenizer.tiktoken"] += b"Yg== 1\n"
    assert "/tokenizer.tiktoken: 14 bytes, published are 7; " in refusal()


def limit_free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))


def test_a_download_that_does_not_fit_is_not_begun(
    refusal: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 276 kB for the cache and as much for the base, on the same disk.
    limit_free_space(monkeypatch, 500_000)
    message = "0.6 MB are needed, 0.5 MB are free; free space, or set HF_HOME to a folder on "
    assert message in refusal()
    assert not bodies(connected)


def test_what_arrived_before_needs_no_space_again(
    refusal: Any, shipped: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.cuts = {"model.pth": [240_000, *[0] * 20]}
    refusal()
    connected.cuts.clear()
    limit_free_space(monkeypatch, 320_000)
    fetch_base(shipped("base", source=REPOSITORY), base=Path("data/base"))


def test_a_disk_that_fills_up_on_the_way(
    refusal: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = defaultdict[str, int](int)

    def write_to_full_disk(_url: str, file: Any, **options: Any) -> None:
        written[options["displayed_filename"]] += 1
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(file.name.encode())

    monkeypatch.setattr("fishdvc.base.hub.http_get", write_to_full_disk)
    message = "the disk is full; free space, and run it again: what has arrived is kept"
    assert refusal() == f"{REPOSITORY}/config.json: {message}"
    assert written == {"config.json": 1}
    assert not bodies(connected)
