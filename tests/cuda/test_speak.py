"""`fishdvc speak` on a GPU, with adapters and with a reference."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from fishdvc.cli.main import main
from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.model.checkpoint import load_dual_ar

pytestmark = pytest.mark.cuda


@pytest.fixture
def speak(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Any:
    """Run ``fishdvc speak`` on the device with the demo's base, and return its samples."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/base").symlink_to(top / "demo_base/checkpoint")
    shutil.copyfile(top / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, output: str = "a.wav") -> Any:
        short = ("--max-part-s", "0.4", "--device", device.type, "--checkpoint", "data/base")
        assert main(["speak", "Hello there.", *short, "-o", "a.wav", *arguments]) == 0
        samples, _ = soundfile.read(output)
        assert len(samples) > 1000
        assert np.abs(samples).max() > 0
        return samples

    return run


def write_adapter(name: str, seed: int) -> str:
    """Write a random adapter that changes the speech."""
    torch.manual_seed(seed)
    adapted = add_adapter(load_dual_ar("data/base"), r=2, alpha=4, dropout=0.0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            # Small: with 0.2, the demo's base ends before it speaks.
            torch.nn.init.normal_(parameter, std=0.05)
    save_adapter(adapted, name)
    return name


def test_an_adapter_and_a_reference_change_the_speech(speak: Any, make_clip: Any) -> None:
    make_clip(Path("clip.wav"), seconds=1.0)
    spoken = [
        speak(),
        speak("--adapter", write_adapter("step_1", 1)),
        speak("--reference", "clip.wav"),
        speak("--adapter", "step_1", "--reference", "clip.wav"),
    ]
    for i, samples in enumerate(spoken):
        for other in spoken[:i]:
            assert not np.array_equal(samples, other)


def test_several_adapters_give_the_speech_that_each_gives_alone(speak: Any) -> None:
    names = [write_adapter(name, seed) for seed, name in enumerate(("step_1", "step_2"))]
    alone = [speak("--adapter", name) for name in names]
    speak("--adapter", names[0], "--adapter", names[1], output="a.step_1.wav")
    for name, samples in zip(names, alone, strict=True):
        assert np.array_equal(soundfile.read(f"a.{name}.wav")[0], samples)
