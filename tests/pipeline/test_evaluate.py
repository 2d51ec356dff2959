"""Stage evaluate compares what checkpoints say, chooses one, and writes the same bytes again."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file, save_file

from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from fishdvc.errors import CheckpointError, DatasetError, ParamsError
from fishdvc.evaluation import judges
from fishdvc.generation.synthesizer import Synthesizer
from fishdvc.lora.adapter import add_adapter, save_adapter
from fishdvc.lora.checkpoint_list import Checkpoint, write_checkpoints
from fishdvc.model.checkpoint import load_dual_ar, load_weights
from fishdvc.pipeline.evaluate import evaluate
from fishdvc.text.tokenizer import load_tokenizer
from tests.small_project import CODEC_NAME

Run = Callable[..., str]
Adapters = Callable[..., Path]
OUT = Path("out")
END_LOGIT = 4.0
"""Of the small base. All codes have the logit 0, so speech ends after a few frames."""
HIDDEN = 32**0.5


@pytest.fixture(scope="module")
def base(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small base, changed so that its speech ends by itself. Tests must not change it.

    The first coordinate of the hidden states is always about ``HIDDEN``.
    """
    folder = shutil.copytree(base_folder, tmp_path_factory.mktemp("base") / "base")
    weights = {key: tensor.clone() for key, tensor in load_weights(folder / "model.pth").items()}
    tokenizer = load_tokenizer(folder)
    weights["embeddings.weight"][:, 0] = 100
    weights["norm.weight"][0] = 1
    weights["output.weight"][tokenizer.semantic_begin_id :] = 0
    weights["output.weight"][tokenizer.im_end_id] = 0
    weights["output.weight"][tokenizer.im_end_id, 0] = END_LOGIT / HIDDEN
    torch.save(weights, folder / "model.pth")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with shards in ``protos/`` and recordings in ``normalized/``."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for split, number in (("train", 2), ("val", 3)):
        groups, names = [], {}
        for speaker in ("ann", "bob"):
            codes = [rng.integers(1, 1000, (8, 6 + i)) for i in range(number)]
            sentences = [Sentence((f"{split} {i}.",), c) for i, c in enumerate(codes)]
            groups.append(SpeakerGroup(speaker, "folder", tuple(sentences)))
            names[speaker] = [f"{speaker}/{split}.{i}" for i in range(number)]
            for name, clip in zip(names[speaker], codes, strict=True):
                path = folder / "normalized" / f"{name}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = np.sin(np.arange(clip.shape[1] * 2048) * 0.02) * rng.uniform(0.2, 0.8)
                soundfile.write(path, tone, 44100)
        write_shards(folder / "protos" / split, groups, 10**7)
        (folder / "protos" / split / CLIP_LIST).write_text(json.dumps(names))
    return folder


@pytest.fixture(scope="module")
def zero_adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter before the first step of training."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter") / "zero"
    save_adapter(add_adapter(load_dual_ar(base), r=2, alpha=2, dropout=0), folder)
    return folder


@pytest.fixture
def adapters(zero_adapter: Path, work: Path) -> Adapters:
    """Write changed copies of the zero adapter as steps 10, 20, ... and their list."""

    def write(*changes: Callable[[dict[str, torch.Tensor]], None]) -> Path:
        entries = [Checkpoint(step=0, val_loss=9, folder=None)]
        for step, change in zip(range(10, 90, 10), changes, strict=False):
            name = f"step_{step:09d}"
            shutil.copytree(zero_adapter, work / "lora" / name, dirs_exist_ok=True)
            file = work / "lora" / name / "adapter_model.safetensors"
            tensors = load_file(file)
            change(tensors)
            save_file(tensors, file, metadata={"format": "pt"})
            entries.append(Checkpoint(step=step, val_loss=9 - step / 10, folder=name))
        write_checkpoints(work / "lora", entries)
        return work / "lora"

    return write


def zero(_: dict[str, torch.Tensor]) -> None:
    """Leave the zero adapter as it is."""


def nothing(tensors: dict[str, torch.Tensor]) -> None:
    """Change so little that the speech is that of the base."""
    tensors["base_model.model.output.lora_B.weight"][0, 0] = 1e-30


def noise(tensors: dict[str, torch.Tensor], scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1)
    for tensor in tensors.values():
        tensor += scale * torch.randn(tensor.shape, generator=generator)


@pytest.fixture
def run(shipped: Any, base: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the stage with outputs in ``out``, as if the optional packages were not installed."""
    monkeypatch.setattr(judges, "find_spec", lambda _name: None)

    def run(lora: Path, **changes: Any) -> str:
        small = {
            "checkpoints": "all",
            "num_held_out": 2,
            "sentences": None,
            "optional_metrics": [],
            "max_length_ratio": 1.1,
        }
        return evaluate(
            shipped("evaluate", **{**small, **changes}),
            shipped("base", codec_checkpoint=f"{CODEC_NAME}.pth"),
            shipped("extract_vq"),
            shipped("machine", workers=1, accelerator="cpu"),
            base=base,
            normalized=clips / "normalized",
            protos=clips / "protos",
            lora=lora,
            curves=Path("curves"),
            table=OUT / "checkpoints.csv",
            choice=OUT / "choice.json",
            report=OUT / "report",
            metrics=OUT / "metrics.json",
        )

    return run


def table() -> dict[int, dict[str, str]]:
    """The lines of the table by step."""
    with (OUT / "checkpoints.csv").open() as file:
        return {int(row["step"]): row for row in csv.DictReader(file)}


def choice() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OUT / "choice.json").read_text())
    return found


def test_a_spoiled_checkpoint_is_last_and_fails_a_gate(run: Run, adapters: Adapters) -> None:
    summary = run(adapters(noise, nothing))
    rows = table()
    assert rows[10]["failed_gates"] > rows[20]["failed_gates"] == "0"
    assert float(rows[10]["ended_share"]) < 0.5 < float(rows[20]["ended_share"])
    assert choice()["checkpoint"] == "step_000000020"
    assert "evaluate: step_000000020 of 2 checkpoints" in summary
    page = (OUT / "report/index.html").read_text()
    assert "of its sentences end by themselves" in page


def test_a_checkpoint_that_never_ends_is_caught_and_bounded(
    run: Run, adapters: Adapters, base: Path
) -> None:
    def never_end(tensors: dict[str, torch.Tensor]) -> None:
        prefix = "base_model.model.output."
        tensors[f"{prefix}lora_A.weight"][0] = torch.eye(32)[0]
        end = load_tokenizer(base).im_end_id
        tensors[f"{prefix}lora_B.weight"][end, 0] = -END_LOGIT

    summary = run(adapters(never_end))
    assert float(table()[10]["ended_share"]) == 0
    found = choice()
    # The only checkpoint is the least bad.
    assert found["checkpoint"] == "step_000000010"
    assert "0 % of its sentences end" in found["warning"]
    assert summary.startswith("warning: No checkpoint passes every gate") or (
        "\nwarning: No checkpoint passes every gate" in summary
    )
    sounds = list((OUT / "report/rows/step_000000010").glob("*.mp3"))
    longest_s = max(soundfile.info(path).duration for path in sounds)
    # 8 frames of 46 ms times 1.1, and 1 s.
    assert 1.3 < longest_s < 1.6


def test_a_zero_adapter_ties_with_the_base_and_is_not_chosen(run: Run, adapters: Adapters) -> None:
    run(adapters(zero, nothing))
    rows = table()
    measured = [name for name in rows[0] if rows[0][name] and "val_loss" not in name]
    assert len(measured) > 10
    for name in measured:
        if name not in ("name", "step", "failed_gates"):
            assert rows[10][name] == rows[0][name], name
    assert rows[10]["failed_gates"] == "1"
    assert choice()["checkpoint"] == "step_000000020"
    warning = choice()["warning"]
    assert "No checkpoint is better than the base" in warning
    assert "step_000000010 (it is untrained: it changes nothing)" in warning
    figures = json.loads((OUT / "metrics.json").read_text())
    assert figures["chosen_step"] == 20
    assert figures["ended_share"] == figures["base_ended_share"]
    assert (figures["val_loss"], figures["base_val_loss"]) == (7, 9)
    # Two clips of each speaker with 13 frames of 46 ms.
    assert (choice()["num_clips"], choice()["hours"]) == (4, 0.0003)
    assert len(figures) == 13


def test_unusable_adapters_are_listed_with_their_errors_and_never_chosen(
    run: Run, adapters: Adapters
) -> None:
    def not_a_number(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values()))[0] = torch.nan

    def of_another_base(tensors: dict[str, torch.Tensor]) -> None:
        key = "base_model.model.output.lora_B.weight"
        tensors[key] = tensors[key][1:].clone()

    lora = adapters(not_a_number, of_another_base, noise, nothing)
    cut = lora / "step_000000040/adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    summary = run(lora)
    assert choice()["checkpoint"] == "step_000000030"
    assert "evaluate: step_000000030 of 4 checkpoints" in summary
    warning = next(line for line in summary.splitlines() if line.startswith("warning: "))
    for problem in ("NaN or infinite", "does not fit this base: output.weight", "cannot read"):
        assert problem in warning
    rows = table()
    assert [rows[step]["failed_gates"] for step in (10, 20, 40)] == ["1", "1", "1"]
    assert rows[10]["ended_share"] == rows[20]["ended_share"] == rows[40]["ended_share"] == ""
    with pytest.raises(CheckpointError, match="no checkpoint can be chosen") as error:
        run(adapters(not_a_number, zero))
    assert "NaN or infinite" in str(error.value)
    assert "step_000000020: it is untrained" in str(error.value)


def test_the_table_has_the_columns_of_the_plots(run: Run, adapters: Adapters, top: Path) -> None:
    run(adapters(nothing))
    plots = [
        plot
        for entry in yaml.safe_load((top / "dvc.yaml").read_text())["plots"]
        for plot in entry.values()
    ]
    columns = [plot["y"].get("data/evaluation/checkpoints.csv") for plot in plots]
    assert {"cer", "similarity", "distillmos"} <= set(columns)
    assert set(filter(None, columns)) <= table()[0].keys()
    assert table()[0]["cer"] == ""


def test_the_same_run_gives_the_same_bytes(
    run: Run, adapters: Adapters, contents: Callable[[str], dict[str, bytes]]
) -> None:
    lora = adapters(nothing)
    run(lora)
    first = contents("out")
    shutil.rmtree(".fishdvc_cache")
    shutil.rmtree(OUT)
    run(lora)
    assert contents("out") == first


def test_a_killed_run_continues_and_one_more_checkpoint_costs_one_more(
    run: Run, adapters: Adapters, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken: list[int] = []
    speak = Synthesizer.speak

    def counted(self: Synthesizer, *args: Any, **kwargs: Any) -> Any:
        spoken.append(1)
        if len(spoken) == 2:
            raise KeyboardInterrupt
        return speak(self, *args, **kwargs)

    monkeypatch.setattr(Synthesizer, "speak", counted)
    lora = adapters(nothing)
    with pytest.raises(KeyboardInterrupt):
        run(lora)
    assert not OUT.exists() or not any(OUT.iterdir())
    run(lora)
    # The base from the cache, and the checkpoint.
    assert len(spoken) == 3
    run(adapters(nothing, lambda tensors: noise(tensors, 0.01)))
    assert len(spoken) == 4
    run(lora, min_ended_share=0.0)
    assert len(spoken) == 4


def test_only_chosen_steps_speak(run: Run, adapters: Adapters) -> None:
    lora = adapters(nothing, nothing, nothing, nothing)
    run(lora, checkpoints=2)
    assert list(table()) == [0, 20, 40]
    run(lora, checkpoints=(20,))
    assert list(table()) == [0, 20]
    with pytest.raises(ParamsError, match=r"steps \[25\]; choose from 10, 20, 30, 40"):
        run(lora, checkpoints=(20, 25))


def test_own_sentences_are_spoken_and_bad_ones_are_named(
    run: Run, adapters: Adapters, work: Path
) -> None:
    path = work / "data/external/evaluate/own.txt"
    path.parent.mkdir(parents=True)
    path.write_text("# A comment.\n\nHello there.\n")
    lora = adapters(nothing)
    pair = {"row_a": "base", "row_b": "step_000000099", "winner": "base"}
    vote = {"sentence": "own_01", **pair, "audio_a": "", "audio_b": ""}
    votes = {"version": 2, "votes": [vote]}
    path.with_name("votes.json").write_text(json.dumps(votes))
    summary = run(
        lora,
        sentences="data/external/evaluate/own.txt",
        listening_votes="data/external/evaluate/votes.json",
    )
    assert "not counted: 1 of 1 votes, because this is not the speech" in summary
    names = {path.stem for path in (OUT / "report/rows/base").glob("*.mp3")}
    assert {"own_01", "own_01_with_reference", "held_out_01_with_reference"} <= names
    recorded = {path.stem for path in (OUT / "report/rows/recording").glob("*.mp3")}
    assert recorded == {name for name in names if name.startswith("held_out")}
    path.write_text("Hello there.\n...\n")
    with pytest.raises(DatasetError, match=r"own\.txt: line 2: nothing to speak in '\.\.\.'"):
        run(lora, sentences="data/external/evaluate/own.txt")
    with pytest.raises(ParamsError, match=r"evaluate\.sentences: expected an existing file"):
        run(lora, sentences="data/external/evaluate")
    shutil.copyfile(path, "my.txt")
    with pytest.raises(ParamsError, match=r"evaluate\.sentences: my\.txt is not in data/external"):
        run(lora, sentences="my.txt")


def test_a_list_without_adapters_is_an_error(run: Run, adapters: Adapters) -> None:
    with pytest.raises(CheckpointError, match="no adapter was saved; run train_lora"):
        run(adapters())
    assert not OUT.exists()
