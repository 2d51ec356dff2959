"""The stage's script as DVC starts it: the environment counts, and no traceback is shown."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fishdvc.base.published import PUBLISHED_REVISION

COMMAND = [sys.executable, "-m", "stages.fetch_base", "--base", "data/base"]
REPOSITORY = "fishaudio/fish-speech-1.5"
CODEC = "firefly-gan-vq-fsq-8x1024-21hz-generator.pth"
CLIENT_CHUNK_BYTES = 10 * 2**20
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(hub: Any, top: Path, work: Path) -> Start:
    """Start the stage on the hub, its HF_HOME in the working folder."""

    def start(*, revision: str = "main", **environment: str) -> "subprocess.Popen[str]":
        section = f"source: {REPOSITORY}, revision: {revision}, codec_checkpoint: {CODEC}"
        (work / "params.yaml").write_text(f"base: {{{section}}}")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        settings = {
            "PYTHONPATH": str(top),
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(work / "hf_home"),
            **environment,
        }
        return subprocess.Popen(
            COMMAND,
            env={**inherited, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_the_environment_chooses_server_token_and_cache(hub: Any, start: Start, work: Path) -> None:
    hub.prefix, hub.token = "/mirror", "hf_secret"
    hub.branches["main"] = "b" * 40
    stage = start(HF_ENDPOINT=hub.endpoint, HF_TOKEN="hf_secret")
    output, errors = stage.communicate(timeout=60)
    assert stage.returncode == 0, errors
    assert re.fullmatch(rf"fetch_base: {REPOSITORY}, 0\.3 MB, .*; commit b{{12}}, .*\n", output)
    for path in (work / "data/base").iterdir():
        assert path.read_bytes() == hub.files[path.name]
    assert list((work / "hf_home/hub").glob(f"models--*/snapshots/{'b' * 40}/model.pth"))


def test_an_error_is_one_line_without_a_traceback(hub: Any, start: Start) -> None:
    stage = start(revision=PUBLISHED_REVISION)
    output, errors = stage.communicate(timeout=60)
    assert (stage.returncode, output) == (1, "")
    assert errors == (
        f"error: {REPOSITORY}/config.json: 2 bytes, published are 697; "
        "the server (HF_ENDPOINT) has another file: set another\n"
    )
    assert all(request.method == "HEAD" for request in hub.requests)


def test_a_run_that_was_killed_is_continued_by_the_next(hub: Any, start: Start, work: Path) -> None:
    hub.branches["main"] = "b" * 40
    hub.files["model.pth"] = bytes(range(250)) * 100_000
    hub.cuts, hub.stall = {"model.pth": [CLIENT_CHUNK_BYTES + 1000]}, threading.Event()
    killed = start()
    deadline_s = time.monotonic() + 60
    while not any(
        partial.stat().st_size == CLIENT_CHUNK_BYTES
        for partial in work.glob("hf_home/hub/*/snapshots/*/model.pth.incomplete")
    ):
        assert time.monotonic() < deadline_s
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    hub.stall.set()
    assert not (work / "data/base").exists()
    second = start()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert hub.fetched("model.pth") == [None, f"bytes={CLIENT_CHUNK_BYTES}-"]
    assert (work / "data/base/model.pth").read_bytes() == hub.files["model.pth"]
