"""Parameters: all problems in one message, and YAML read as DVC reads it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from dvc.utils.serialize import parse_yaml
from pydantic import Field

from fishdvc.errors import CheckpointError, ParamsError
from fishdvc.model.config import read_config
from fishdvc.params import load_yaml, read_params
from fishdvc.training.params import LoraParams, base_mismatches
from fishdvc.validation import Checked, Items, parse, parse_json
from tests.sections import SECTIONS, shipped


class Inner(Checked):
    low: int
    high: int

    def inconsistencies(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low: must be at most high ({self.high}), got {self.low}"


class Example(Checked):
    rank: int = Field(ge=1)
    rate: float = Field(gt=0, lt=1)
    name: str = Field(description="A name.")
    fast: bool
    mode: Literal["fail", "skip"]
    devices: int | Literal["auto"]
    config: str | None
    targets: Items[str]
    inner: Inner

    def inconsistencies(self) -> Iterator[str]:
        if self.rank > self.inner.high:
            yield f"rank: must be at most inner.high ({self.inner.high}), got {self.rank}"
        if self.name in self.targets:
            yield f"name: must not be one of targets, got {self.name!r}"


GOOD: dict[str, Any] = {
    "rank": 8,
    "rate": 1e-4,
    "name": "a",
    "fast": False,
    "mode": "skip",
    "devices": "auto",
    "config": None,
    "targets": ["wqkv", "wo"],
    "inner": {"low": 1, "high": 9},
}


def problems(values: object) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        parse(values, Example, where="here", error=ParamsError)
    first, *lines = str(caught.value).splitlines()
    plural = "s" if len(lines) > 1 else ""
    assert first == f"here: correct these values ({len(lines)} problem{plural}):"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize("changes", [{}, {"devices": 2, "config": "a"}])
def test_good_values_are_kept_and_lists_become_tuples(changes: dict[str, Any]) -> None:
    values = {**GOOD, **changes}
    example = parse(values, Example, where="here", error=ParamsError)
    assert example.model_dump() == {**values, "targets": ("wqkv", "wo")}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("rank", 0, "rank: must be greater than or equal to 1, got 0"),
        ("rank", 2.0, "rank: must be an integer, got 2.0"),
        ("rank", True, "rank: must be an integer, got True"),
        ("rank", None, "rank: must be an integer, got nothing"),
        ("rate", 1.0, "rate: must be less than 1, got 1.0"),
        ("rate", math.nan, "rate: must be a finite number, got nan"),
        ("rate", "fast", "rate: must be a number, got 'fast'"),
        ("name", 5, "name: must be a string, got 5"),
        ("fast", 1, "fast: must be true or false, got 1"),
        ("mode", "skipp", "mode: must be 'fail' or 'skip', got 'skipp'; did you mean 'skip'?"),
        (
            "devices",
            "aut",
            "devices: must be an integer or 'auto', got 'aut'; did you mean 'auto'?",
        ),
        ("targets", "wqkv", "targets: must be a list, got 'wqkv'"),
        ("targets", ["wqkv", 3], "targets[1]: must be a string, got 3"),
        ("inner", None, "inner: must be a mapping, got nothing"),
        ("inner", {"low": 2, "high": 1}, "inner.low: must be at most high (1), got 2"),
    ],
)
def test_a_wrong_value_is_reported_with_what_is_allowed(key: str, value: Any, problem: str) -> None:
    assert problems({**GOOD, key: value}) == [problem]


def test_all_problems_are_in_one_message() -> None:
    values: dict[Any, Any] = {
        **GOOD,
        "rank": 0,
        "rate": "x",
        "mod": "skip",
        5: 5,
        "inner": {"low": 1, "hihg": 2},
    }
    del values["mode"], values["name"]
    assert problems(values) == [
        "rank: must be greater than or equal to 1, got 0",
        "rate: must be a number, got 'x'",
        "name: missing; A name.",
        "mode: missing",
        "inner.high: missing",
        "inner.hihg: unknown; did you mean 'high'?",
        "mod: unknown; did you mean 'mode'?",
        "5: unknown",
    ]


def test_all_inconsistencies_are_in_one_message() -> None:
    values = {**GOOD, "rank": 10, "name": "wo"}
    assert problems(values) == [
        "rank: must be at most inner.high (9), got 10",
        "name: must not be one of targets, got 'wo'",
    ]
    # The inconsistency of a section is reported beside the problems of other keys.
    assert problems({**values, "inner": {"low": 2, "high": 1}, "extra": 0}) == [
        "inner.low: must be at most high (1), got 2",
        "extra: unknown",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"params\.yaml: no such file; run from the project's top folder"),
        (b"a: [", r"params\.yaml: cannot be read as YAML"),
        (b"example: \xff", r"params\.yaml: cannot be read as YAML"),
        (b"", r"params\.yaml: expected sections of parameters, got None"),
        (b"exampel: {}", r"params\.yaml: no section 'example'; did you mean 'exampel'\?"),
        (b"example:", r"params\.yaml: example: .*\n  must be a mapping, got nothing"),
    ],
)
def test_an_unusable_file_is_reported(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamsError, match=message):
        read_params(path, "example", Example)


def test_a_device_is_no_params_file_and_no_config() -> None:
    with pytest.raises(ParamsError, match=r"zero: cannot be read: expected a file, got a device"):
        load_yaml(Path("/dev/zero"))
    with pytest.raises(CheckpointError, match=r"cannot read /dev/zero: expected a file, got a dev"):
        parse_json(Path("/dev/zero"), Example)


def test_numbers_and_words_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    text = "a: [1e-4, 5e-05, 010, 0x1F, 1_000, off, yes, 1:30, 1.5.1, '5', ~, .inf]\n"
    (tmp_path / "params.yaml").write_text(text)
    values = load_yaml(tmp_path / "params.yaml")
    assert repr(values) == repr(parse_yaml(text, "params.yaml"))
    assert values["a"][:2] == [1e-4, 5e-5]
    assert values["a"][5] == "off"


def test_the_shipped_params_fit_every_section(top: Path) -> None:
    for section, cls in SECTIONS.items():
        read_params(top / "params.yaml", section, cls)
    assert load_yaml(top / "params.yaml").keys() == SECTIONS.keys()


def test_each_checkpoint_must_have_a_validation_loss() -> None:
    params = shipped("train_lora", val_every_steps=2, checkpoint_every_steps=3)
    with pytest.raises(ParamsError, match=r"must be a multiple of val_every_steps \(2\), got 3"):
        parse(params.model_dump(), type(params), where="here", error=ParamsError)


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (["wq"], r"targets\[0\]: must be 'embeddings', .*, got 'wq'; did you mean 'w"),
        (["w1", "wo", "w1"], r"targets: must name at least one module, and none twice, got \('w1'"),
        ([], r"targets: must name at least one module, and none twice, got \(\)"),
    ],
)
def test_targets_are_modules_of_the_model(targets: list[str], problem: str) -> None:
    with pytest.raises(ParamsError, match=problem):
        parse(
            {**shipped("lora").model_dump(), "targets": targets},
            LoraParams,
            where="params.yaml: lora",
            error=ParamsError,
        )


def test_tied_embeddings_are_no_targets(assets: Path) -> None:
    config = read_config(assets / "text2semantic/config.json")
    tied = config.model_copy(update={"tie_word_embeddings": True})
    lora, train = shipped("lora"), shipped("train_lora", max_length=64)
    assert base_mismatches(lora, train, config) == []
    (problem,) = base_mismatches(lora, train, tied)
    assert problem.startswith("lora.targets: must not name embeddings and output, because ")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("machine", "devices", 0), ("machine", "devices", -1), ("train_lora", "seed", 2**32)],
)
def test_values_that_lightning_refuses_are_out_of_range(
    section: str, name: str, value: int
) -> None:
    values = {**shipped(section).model_dump(), name: value}
    with pytest.raises(ParamsError, match=rf"{name}: must be .*, got {value}"):
        parse(values, SECTIONS[section], where="here", error=ParamsError)


@pytest.mark.parametrize("cls", SECTIONS.values())
def test_no_parameter_has_a_default_and_each_has_a_description(cls: type[Checked]) -> None:
    for name, field in cls.model_fields.items():
        assert field.is_required(), name
        assert field.description, name
