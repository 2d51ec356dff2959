"""fetch_base from a hub: what is fetched, in how many requests, and how it goes on after a cut."""

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
NEEDED = {"config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json", CODEC}


@pytest.fixture(autouse=True)
def _publish(hub: Any, publish: Callable[[dict[str, bytes]], None]) -> None:
    publish(hub.files)


def fetch(shipped: Any, **changes: Any) -> str:
    return fetch_base(shipped("base", **{"source": REPOSITORY, **changes}), base=BASE)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def needed(hub: Any) -> dict[str, bytes]:
    return {name: hub.files[name] for name in NEEDED}


def test_only_the_files_needed_are_fetched_each_once(shipped: Any, connected: Any) -> None:
    fetch(shipped)
    assert contents(BASE) == needed(connected)
    for name in NEEDED:
        assert connected.fetched(name) == [None]
    asked = {request.path.split("/")[-1] for request in connected.requests}
    assert asked == NEEDED | {CODEC.replace(".pth", ".json")}


def test_the_summary_names_files_of_which_no_hash_is_published(
    shipped: Any, connected: Any
) -> None:
    summary = fetch(shipped)
    assert summary.startswith(f"fetch_base: {REPOSITORY}, 0.3 MB, ")
    known = f"commit {PUBLISHED_REVISION[:12]}, no published hash to compare with: "
    assert summary.endswith(f"; {known}tokenizer.tiktoken")
    # Not one of the two ways it may have been written: of the right size, so taken and named.
    connected.files["special_tokens.json"] = b'{"<|pod|>": 1}'
    Path(constants.HF_HUB_CACHE).rename("old_cache")
    assert fetch(shipped).endswith("with: tokenizer.tiktoken, special_tokens.json")


def test_of_another_commit_no_hash_is_published(shipped: Any, connected: Any) -> None:
    connected.branches["main"] = "b" * 40
    connected.files["config.json"] = b'{"another": "model"}'
    summary = fetch(shipped, revision="main")
    assert "; commit bbbbbbbbbbbb, no published hash to compare with: config.json, " in summary


@pytest.mark.usefixtures("connected")
def test_a_branch_at_the_published_commit_is_the_published_base(shipped: Any) -> None:
    assert fetch(shipped, revision="main").endswith("compare with: tokenizer.tiktoken")


@pytest.mark.parametrize("revision", [PUBLISHED_REVISION, "main"])
def test_what_is_in_the_cache_needs_no_network(
    revision: str, shipped: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.files[CODEC.replace(".pth", ".json")] = b"{}"
    fetch(shipped, revision=revision)
    first = contents(BASE)
    assert len(first) == 6
    connected.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch(shipped, revision=revision)
    assert contents(BASE) == first
    assert not connected.requests


def test_the_cache_knows_that_the_pinned_commit_has_no_codec_configuration(
    shipped: Any, connected: Any
) -> None:
    fetch(shipped)
    connected.requests.clear()
    fetch(shipped)
    assert not connected.requests


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    reset: bool, shipped: Any, connected: Any
) -> None:
    connected.cuts = {"model.pth": [100_000, 50_000]}
    connected.reset = reset
    fetch(shipped)
    assert contents(BASE) == needed(connected)
    ranges = connected.fetched("model.pth")
    assert len(ranges) == 3
    starts = [int((r or "bytes=0-")[6:-1]) for r in ranges]
    assert starts == sorted(set(starts))
    # A reset may throw away what lay unread at the client.
    assert reset or starts == [0, 100_000, 150_000]


def test_a_download_that_was_given_up_goes_on_in_the_next_run(shipped: Any, connected: Any) -> None:
    connected.cuts = {"model.pth": [90_000, *[0] * 20]}
    with pytest.raises(CheckpointError, match=r"model\.pth: .* run it again: what has arrived is"):
        fetch(shipped)
    assert not BASE.exists()
    connected.cuts.clear()
    connected.requests.clear()
    fetch(shipped)
    assert contents(BASE) == needed(connected)
    assert connected.fetched("model.pth") == ["bytes=90000-"]
    assert connected.fetched("config.json") == []


def test_more_bytes_than_the_file_has_are_no_beginning_of_it(shipped: Any, connected: Any) -> None:
    snapshot = Path(constants.HF_HUB_CACHE, "models--fishaudio--fish-speech-1.5/snapshots")
    partial = snapshot / PUBLISHED_REVISION / "model.pth.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(300_000))
    fetch(shipped)
    assert contents(BASE) == needed(connected)


def test_a_mirror_below_a_path_serves_the_same(
    shipped: Any, hub: Any, connect: Callable[[str], None]
) -> None:
    hub.prefix = "/mirrors/hf"
    connect(hub.endpoint)
    fetch(shipped)
    assert contents(BASE) == needed(hub)
    own = [request.path for request in hub.requests if not request.path.startswith("/cdn/")]
    assert all(path.startswith("/mirrors/hf/fishaudio/") for path in own)


def test_the_token_opens_a_gated_repository_and_stays_with_the_hub(
    shipped: Any, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(shipped)
    assert contents(BASE) == needed(connected)
    elsewhere = [r for r in connected.requests if r.path.startswith("/cdn/")]
    assert len(elsewhere) == 2
    assert {request.token for request in elsewhere} == {None}


def test_a_login_in_the_hub_s_folder_counts_as_the_token(shipped: Any, connected: Any) -> None:
    connected.token = "hf_secret"
    Path("hf_home").mkdir()
    Path("hf_home/token").write_text("hf_secret")
    fetch(shipped)
    assert contents(BASE) == needed(connected)


def test_a_codec_of_one_s_own_takes_the_place_of_the_repository_s(
    shipped: Any, connected: Any
) -> None:
    Path("mine.pth").write_bytes(b"codec")
    Path("mine.json").write_bytes(b"{}")
    params = {"codec_checkpoint": "./mine.pth"}
    fetch(shipped, **params)
    expected = {name: connected.files[name] for name in NEEDED - {CODEC}}
    assert contents(BASE) == {**expected, "mine.pth": b"codec", "mine.json": b"{}"}
    assert connected.fetched(CODEC) == []
    assert shipped("base", **params).codec_file == "mine.pth"
