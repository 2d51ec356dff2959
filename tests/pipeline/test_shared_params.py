"""Sections that several stages read, and paths of external files."""

from pathlib import Path

import pytest
import yaml

from fishdvc.errors import ParamsError
from fishdvc.pipeline.shared_params import (
    EXTERNAL,
    OUTPUT_NAMES,
    OUTPUTS,
    DatasetParams,
    external_path,
)
from fishdvc.validation import parse
from tests.small_project import TOP


def dataset(**changes: str) -> DatasetParams:
    values = {"path": "data/my-voice", "text_extension": ".lab", "on_bad_clip": "fail"} | changes
    return parse(values, DatasetParams, where="params.yaml: dataset", error=ParamsError)


@pytest.mark.parametrize("suffix", [".lab", ".normalized.txt", ".TXT", ".my-text_1"])
def test_a_suffix_of_transcripts_is_accepted(suffix: str) -> None:
    assert dataset(text_extension=suffix).text_extension == suffix


@pytest.mark.parametrize(
    "suffix", ["", "lab", ".", "..", "../x", ".lab/", ".a/b", ".lab ", ".l\nab", ".\0", "." * 99]
)
def test_what_is_no_suffix_of_transcripts_is_an_error(suffix: str) -> None:
    with pytest.raises(ParamsError, match=r"text_extension: must be a suffix with its dot") as why:
        dataset(text_extension=suffix)
    assert ("did you mean '.lab'?" in str(why.value)) == (suffix == "lab")


@pytest.mark.parametrize("path", ["data/raw", "data/my-voice/ann", "/elsewhere", "database", "\0"])
def test_a_folder_of_recordings_is_accepted(path: str) -> None:
    assert dataset(path=path).path == path


@pytest.mark.parametrize(
    "path",
    ["", ".", "data", "/", "..", "data/normalized", "data/./lora/ann", "linked", "data/logs/"],
)
def test_a_dataset_among_the_outputs_is_an_error(path: str, work: Path) -> None:
    (work / "linked").symlink_to(work / "data/codes")
    with pytest.raises(ParamsError, match="path: must be a folder without outputs of the pipeline"):
        dataset(path=path)


def test_the_names_of_the_outputs_are_those_of_the_pipeline() -> None:
    paths = yaml.safe_load((TOP / "dvc.yaml").read_text())["vars"][0]["paths"]
    assert {OUTPUTS / name for name in OUTPUT_NAMES} == set(map(Path, paths.values()))


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
