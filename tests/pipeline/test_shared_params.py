"""Sections that several stages read, and paths of external files."""

from pathlib import Path

import pytest

from fishdvc.errors import ParamsError
from fishdvc.pipeline.shared_params import EXTERNAL, DatasetParams, external_path
from fishdvc.validation import parse


def test_a_transcript_suffix_must_begin_with_a_dot() -> None:
    values = {"path": "raw", "text_extension": "lab", "on_bad_clip": "fail"}
    message = r"text_extension: must begin with a dot, got 'lab'; did you mean '\.lab'\?"
    with pytest.raises(ParamsError, match=message):
        parse(values, DatasetParams, where="params.yaml: dataset", error=ParamsError)


@pytest.mark.parametrize("value", ["data/external/merge/a.ckpt", "./data/external/merge/a.ckpt"])
def test_a_file_in_the_external_folder_of_the_stage_is_accepted(value: str, work: Path) -> None:
    (work / EXTERNAL / "merge").mkdir(parents=True)
    (work / value).touch()
    assert external_path(value, stage="merge", param="merge.checkpoint") == Path(value)
    assert external_path(str(work / value), stage="merge", param="merge.checkpoint").is_file()


@pytest.mark.parametrize(
    "value",
    ["a.ckpt", "/tmp/a.ckpt", "data/external/train_lora/a.ckpt", "data/external/merge/../a"],
)
def test_a_file_outside_of_the_external_folder_is_an_error(value: str) -> None:
    with pytest.raises(ParamsError, match=r"merge\.checkpoint: .* is not in data/external/merge"):
        external_path(value, stage="merge", param="merge.checkpoint")


def test_a_missing_external_file_is_an_error() -> None:
    with pytest.raises(ParamsError, match=r"merge\.checkpoint: .*a\.ckpt: no such file"):
        external_path("data/external/merge/a.ckpt", stage="merge", param="merge.checkpoint")


@pytest.mark.parametrize("value", ["data/external/merge/link", "data/external/merge/link/a.ckpt"])
def test_a_link_to_a_folder_is_an_error_but_a_link_to_a_file_is_not(value: str, work: Path) -> None:
    folder = work / EXTERNAL / "merge"
    folder.mkdir(parents=True)
    (work / "elsewhere").mkdir()
    (work / "elsewhere/a.ckpt").touch()
    (folder / "a.ckpt").symlink_to(work / "elsewhere/a.ckpt")
    assert external_path(str(folder / "a.ckpt"), stage="merge", param="x").is_file()
    (folder / "link").symlink_to(work / "elsewhere")
    with pytest.raises(ParamsError, match=r"merge/link is a link to a folder.*: rm .* && cp -r "):
        external_path(value, stage="merge", param="merge.checkpoint")


def test_a_link_to_an_output_is_an_error_because_dvc_deletes_outputs(work: Path) -> None:
    adapter = work / "data/lora/step_000000010"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").touch()
    copy = work / EXTERNAL / "train_lora/step_000000010"
    copy.mkdir(parents=True)
    (copy / "adapter_config.json").symlink_to(adapter / "adapter_config.json")
    with pytest.raises(ParamsError, match=r"init_from: .* is a link to .*, an output that DVC"):
        external_path(str(copy), stage="train_lora", param="train_lora.init_from")


def test_the_external_folder_itself_is_an_error(work: Path) -> None:
    (work / EXTERNAL / "merge").mkdir(parents=True)
    with pytest.raises(ParamsError, match="is not in data/external/merge"):
        external_path("data/external/merge", stage="merge", param="merge.checkpoint")
