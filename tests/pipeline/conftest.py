"""What the stages' tests share: parameters as shipped, and a working folder of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fishdvc.dataset.shards import Sentence, SpeakerGroup, write_shards
from tests.sections import shipped

Shipped = Callable[..., Any]
RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the cache of single files lies in it too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="shipped", scope="session")
def shipped_fixture() -> Shipped:
    """A section of the shipped params.yaml, with changes: ``shipped("lora", r=2)``."""
    return shipped


@pytest.fixture
def run_script(top: Path, work: Path) -> RunScript:
    """Run a stage's script in the working folder.

    Its arguments: the stage, its sections, paths by option; ``prelude``: code that
    runs before it, in every process.
    """

    def run(
        stage: str, sections: dict[str, Any], paths: dict[str, str | Path], *, prelude: str = ""
    ) -> subprocess.CompletedProcess[str]:
        plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
        (work / "params.yaml").write_text(yaml.safe_dump(plain))
        (work / "script.py").write_text(
            f"{prelude}\n"
            "from stages.command import run_stage\n"
            f"from stages.{stage} import main\n"
            "if __name__ == '__main__':\n"
            "    run_stage(main)\n"
        )
        options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
        return subprocess.run(
            [sys.executable, "script.py", *options],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(top), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


@pytest.fixture(scope="session")
def small_protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of random codes, ``train/`` (two speakers, 9 sentences) and ``val/`` (2)."""
    folder = tmp_path_factory.mktemp("protos")
    rng = np.random.default_rng(0)

    def group(name: str, count: int) -> SpeakerGroup:
        sentences = tuple(
            Sentence(texts=(f"Sentence {i}.",), codes=rng.integers(1, 1000, (8, 5 + i)))
            for i in range(count)
        )
        return SpeakerGroup(name=name, source="folder", sentences=sentences)

    write_shards(folder / "train", [group("ann", 6), group("bob", 3)], 10**7)
    write_shards(folder / "val", [group("ann", 1), group("bob", 1)], 10**7)
    return folder
