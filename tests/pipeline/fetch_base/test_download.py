"""Download of the base from a hub, and the error messages when it fails."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from fishdvc.base.published import PUBLISHED_REVISION
from fishdvc.errors import CheckpointError
from fishdvc.pipeline.fetch_base import fetch_base

BASE = Path("data/base")
REPOSITORY = "fishaudio/fish-speech-1.5"
CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
NEEDED = ("config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json", CODEC)


@pytest.fixture
def fetch(shipped: Any) -> Callable[..., str]:
    def fetch(**changes: Any) -> str:
        return fetch_base(
            shipped("base", **{"source": REPOSITORY, **changes}), init_from=None, base=BASE
        )

    return fetch


@pytest.fixture
def fail(fetch: Callable[..., str]) -> Callable[..., str]:
    """Fetch, which must fail and keep the old base. Return the message."""

    def fail(**changes: Any) -> str:
        BASE.mkdir(parents=True, exist_ok=True)
        (BASE / "config.json").write_text("old")
        with pytest.raises(CheckpointError) as caught:
            fetch(**changes)
        assert [path.name for path in Path("data").rglob("*")] == ["base", "config.json"]
        assert (BASE / "config.json").read_text() == "old"
        return str(caught.value)

    return fail


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def needed(hub: Any) -> dict[str, bytes]:
    return {name: hub.files[name] for name in NEEDED}


def test_only_the_needed_files_are_downloaded_once_and_without_xet(fetch: Any, hub: Any) -> None:
    summary = fetch()
    assert summary.startswith(f"fetch_base: {REPOSITORY}, 0.3 MB, ")
    assert summary.endswith(f"commit {PUBLISHED_REVISION[:12]}, no known hash: tokenizer.tiktoken")
    assert contents(BASE) == needed(hub)
    assert all(hub.ranges(name) == [None] for name in NEEDED)
    assert not hub.ranges("model.safetensors")
    assert not hub.ranges("xet-read-token")


def test_files_of_another_commit_are_not_compared_with_the_published_ones(
    fetch: Any, hub: Any
) -> None:
    hub.commit, hub.files["config.json"] = "b" * 40, b'{"another": "model"}'
    codec_config = CODEC.replace(".pth", ".json")
    hub.files[codec_config] = b"{}"
    assert "; commit bbbbbbbbbbbb, no known hash: config.json, " in fetch(revision="main")
    assert contents(BASE) == {**needed(hub), codec_config: b"{}"}


@pytest.mark.parametrize("revision", [PUBLISHED_REVISION, "main"])
def test_files_in_the_cache_need_no_network(
    revision: str, fetch: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(revision=revision)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch(revision=revision)
    assert contents(BASE) == needed(hub)
    assert not hub.requests


def test_a_cut_connection_is_resumed(fetch: Any, hub: Any) -> None:
    hub.cuts = {"model.pth": [100_000, 50_000]}
    fetch()
    assert contents(BASE) == needed(hub)
    assert hub.ranges("model.pth") == [None, "bytes=100000-", "bytes=150000-"]


def test_complete_files_are_kept_when_a_connection_is_lost(fetch: Any, fail: Any, hub: Any) -> None:
    hub.cuts = {"model.pth": [90_000, *[0] * 20]}
    assert "then run fetch_base again: complete files are kept" in fail()
    hub.cuts.clear()
    hub.requests.clear()
    fetch()
    assert contents(BASE) == needed(hub)
    assert hub.ranges("model.pth") == [None]
    assert not hub.ranges("config.json")


def test_a_mirror_below_a_path_gets_the_token_and_other_hosts_do_not(
    fetch: Any, hub: Any, set_endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.prefix, hub.token = "/some/path", "hf_secret"
    set_endpoint(f"http://127.0.0.1:{hub.port}/some/path")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(revision="main")
    assert contents(BASE) == needed(hub)
    tokens = {path.split("/")[1]: token for _, path, _, token in hub.requests}
    assert tokens == {"some": "Bearer hf_secret", "cdn": None}


def test_an_own_codec_replaces_the_repository_s(fetch: Any, hub: Any) -> None:
    own = Path("data/external/fetch_base/mine.pth")
    own.parent.mkdir(parents=True)
    own.write_bytes(b"codec")
    own.with_suffix(".json").write_bytes(b"{}")
    fetch(codec_checkpoint=str(own))
    expected = needed(hub) | {"mine.pth": b"codec", "mine.json": b"{}"}
    del expected[CODEC]
    assert contents(BASE) == expected
    assert not hub.ranges(CODEC)


@pytest.mark.parametrize(
    ("changes", "behaviour", "message"),
    [
        ({"source": "a/no"}, {}, "no such repository at {hub}, or it is private; correct base.sou"),
        ({"source": "a/b/c"}, {}, "neither a folder here nor the name of a repository (<owner>/<n"),
        ({"revision": "v2"}, {}, "{name} at v2: the repository has no such revision; correct base"),
        ({}, {"token": "hf_secret"}, "the repository is gated; accept its terms at {hub}/{name} a"),
        ({}, {"status": 503}, "{hub} answered 503 Service Unavailable; check HF_ENDPOINT and HF_T"),
        ({}, {"status": 200}, "{hub} does not answer like a Hugging Face Hub; correct HF_ENDPOINT"),
    ],
)
def test_a_refused_download_says_what_to_do(
    changes: dict[str, str], behaviour: dict[str, Any], message: str, fail: Any, hub: Any
) -> None:
    vars(hub).update(behaviour)
    found = fail(**changes)
    assert message.format(name=REPOSITORY, hub=f"http://127.0.0.1:{hub.port}") in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:9", "connection to {} failed ([Errno 111] Connection refused); check"),
        ("hf-mirror.com", "{} is not a URL; set HF_ENDPOINT to one such as https://huggingface"),
        ("http://127.0.0.1:one", "{} is not a URL; set HF_ENDPOINT to one such as https://hugg"),
    ],
)
def test_an_endpoint_that_cannot_be_reached(
    endpoint: str, message: str, fail: Any, set_endpoint: Callable[[str], None]
) -> None:
    set_endpoint(endpoint)
    assert message.format(endpoint) in fail()


def test_offline_without_cached_files(fail: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fail().endswith(": not in the cache (HF_HOME), and HF_HUB_OFFLINE is set; unset it")
    assert not hub.requests


def test_a_full_disk(fail: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_disk_full(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", raise_disk_full)
    assert f"{constants.HF_HUB_CACHE} is full; free some space or set HF_HOME" in fail()
    assert hub.requests


def test_all_missing_files_are_named(fail: Any, hub: Any) -> None:
    del hub.files["tokenizer.tiktoken"], hub.files[CODEC]
    summary, *problems = fail().splitlines()
    todo = "correct base.source, base.revision or base.codec_checkpoint (2 problems):"
    assert summary.endswith(
        f": no base model; {REPOSITORY} at {PUBLISHED_REVISION} has none; {todo}"
    )
    assert [Path(line.split(":")[0]).name for line in problems] == ["tokenizer.tiktoken", CODEC]


def test_files_that_differ_are_named_and_downloaded_again_after_their_removal(
    fetch: Any, fail: Any, hub: Any
) -> None:
    right = dict(hub.files)
    hub.files |= {"model.pth": bytes(251_000), "tokenizer.tiktoken": b"YQ== 0\nYg== 1\n"}
    summary, model, tokenizer = fail().splitlines()
    assert summary.endswith("set HF_ENDPOINT to another server (2 problems):")
    assert model.startswith("  model.pth: expected 251,000 bytes, SHA-256 ")
    assert tokenizer.startswith("  tokenizer.tiktoken: expected 7 bytes, SHA-256 unknown, got 14 b")
    hub.files = right
    for line in (model, tokenizer):
        Path(line.split("; rm ")[1]).unlink()
    fetch()
    assert contents(BASE) == needed(hub)
