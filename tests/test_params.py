"""Parameters: every problem at once, and numbers that DVC reads alike."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from dvc.utils.serialize import dump_yaml, parse_yaml

from fishdvc.errors import ParamsError
from fishdvc.params import Yaml12Loader, param, parse_params, read_params
from fishdvc.pipeline.build_protos import BuildProtosParams
from fishdvc.pipeline.extract_vq import ExtractVqParams
from fishdvc.pipeline.merge import MergeParams
from fishdvc.pipeline.normalize import NormalizeParams
from fishdvc.pipeline.shared_params import BaseParams, DatasetParams
from fishdvc.pipeline.train_lora import LoraParams, TrainLoraParams

SECTIONS = {
    "dataset": DatasetParams,
    "base": BaseParams,
    "normalize": NormalizeParams,
    "extract_vq": ExtractVqParams,
    "build_protos": BuildProtosParams,
    "lora": LoraParams,
    "train_lora": TrainLoraParams,
    "merge": MergeParams,
}


@dataclass(frozen=True, kw_only=True)
class Example:
    rank: int = param("Rank.", at_least=1)
    rate: float = param("Learning rate.", above=0, below=1)
    level_dbfs: float = param("Level.", at_least=-80, at_most=0)
    name: str = param("Name.")
    fast: bool = param("Whether.")
    mode: Literal["fail", "skip", 3] = param("What to do.")
    devices: int | Literal["auto"] = param("How many.", at_least=1)
    config: str | None = param("Path.")
    targets: tuple[str, ...] = param("Modules.")


GOOD: dict[str, Any] = {
    "rank": 8,
    "rate": 1e-4,
    "level_dbfs": -1.5,
    "name": "a",
    "fast": False,
    "mode": "skip",
    "devices": "auto",
    "config": None,
    "targets": ["wqkv", "wo"],
}


def test_good_values_become_a_frozen_dataclass() -> None:
    expected = Example(**{**GOOD, "targets": ("wqkv", "wo")})
    assert parse_params(GOOD, Example, where="here") == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("rate", 0.5, 0.5), ("level_dbfs", -3, -3.0), ("devices", 2, 2), ("config", "a", "a")],
)
def test_every_type_of_a_union_and_whole_numbers_for_real_ones_fit(
    key: str, value: Any, expected: Any
) -> None:
    found = getattr(parse_params({**GOOD, key: value}, Example, where="here"), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("rank", 0, "rank: must be at least 1, got 0"),
        ("rank", 2.0, "rank: must be a whole number, got 2.0"),
        ("rank", "8", "rank: must be a whole number, got '8'"),
        ("rank", True, "rank: must be a whole number, got True"),
        ("rank", None, "rank: must be a whole number, got nothing"),
        ("rate", 0, "rate: must be above 0 and below 1, got 0.0"),
        ("rate", 1.0, "rate: must be above 0 and below 1, got 1.0"),
        ("rate", math.nan, "rate: must be above 0 and below 1, got nan"),
        ("rate", math.inf, "rate: must be above 0 and below 1, got inf"),
        ("rate", "fast", "rate: must be a number, got 'fast'"),
        ("rate", False, "rate: must be a number, got False"),
        ("level_dbfs", 0.1, "level_dbfs: must be at least -80 and at most 0, got 0.1"),
        ("name", 5, "name: must be a text, got 5"),
        ("fast", "yes", "fast: must be true or false, got 'yes'"),
        ("fast", 1, "fast: must be true or false, got 1"),
        ("mode", "skipp", "mode: must be fail or skip or 3, got 'skipp'; did you mean 'skip'?"),
        ("mode", True, "mode: must be fail or skip or 3, got True"),
        ("devices", 0, "devices: must be at least 1, got 0"),
        ("devices", "all", "devices: must be a whole number or auto, got 'all'"),
        ("config", 7, "config: must be a text or null, got 7"),
        ("targets", "wqkv", "targets: must be a list, got 'wqkv'"),
        ("targets", ["wqkv", 3], "targets: must be a text, got 3"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_would(
    key: str, value: Any, problem: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params({**GOOD, key: value}, Example, where="params.yaml: example")
    expected = f"params.yaml: example: mend these parameters (1 problem):\n  {problem}"
    assert str(caught.value) == expected


def test_every_problem_is_reported_at_once() -> None:
    values = {**GOOD, "rank": 0, "rate": "x", "mod": "skip", 5: 5, "fast": None}
    del values["mode"], values["name"]
    with pytest.raises(ParamsError) as caught:
        parse_params(values, Example, where="here")
    assert str(caught.value).splitlines() == [
        "here: mend these parameters (7 problems):",
        "  mod: unknown parameter; did you mean 'mode'?",
        "  5: unknown parameter",
        "  rank: must be at least 1, got 0",
        "  rate: must be a number, got 'x'",
        "  name: missing; it is: Name.",
        "  fast: must be true or false, got nothing",
        "  mode: missing; it is: What to do.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"params\.yaml: no such file; run from the project's top folder"),
        ("a: [", r"params\.yaml: not readable as YAML"),
        ("", r"must hold sections of parameters, got nothing"),
        ("exampel: {}", r"no section 'example'; did you mean 'exampel'\?; add it"),
        ("example: 5", r"example: must be a mapping of parameters, got 5"),
        ("example:", r"example: must be a mapping of parameters, got nothing"),
    ],
)
def test_a_file_that_cannot_serve_is_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParamsError, match=message):
        read_params(path, "example", Example)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"example: \xff")
    with pytest.raises(ParamsError, match="not readable as YAML"):
        read_params(path, "example", Example)


NUMBERS = "1e-4 5e-05 1E+2 .5 5. 0 -0 +5 -23.0 010 00 08 09.5 0x1F 0o17 1_000 1_000.5 12e03 1.e3"
OTHERS = ".inf -.INF .nan null ~ Null NULL true True TRUE false on off yes no y n tRue inf nan"
TEXTS = "1:30 1:30:00 1e 1e+ e5 .e5 . + a.b .lab 1.5.1 step_000000010 0x 1,5 '5' \"1e-4\""


@pytest.mark.parametrize("scalar", [*NUMBERS.split(), *OTHERS.split(), *TEXTS.split(), ""])
def test_scalars_are_what_dvc_takes_them_for(scalar: str) -> None:
    text = f"x: {scalar}\n"
    ours = yaml.load(text, Loader=Yaml12Loader)["x"]
    dvcs = parse_yaml(text, "params.yaml")["x"]
    # DVC's own texts are subclasses of str, which compare alike.
    assert isinstance(dvcs, type(ours))
    assert repr(ours) == repr(dvcs)
    assert isinstance(ours, int | float) == (scalar in NUMBERS.split() + OTHERS.split()[:3]) or (
        isinstance(ours, bool)
    )


def test_what_dvc_writes_is_read_back(tmp_path: Path) -> None:
    values = {"rate": 5e-05, "tiny": 1e-300, "big": 1e22, "off": "off", "number": "1e-4", "n": None}
    dump_yaml(tmp_path / "params.yaml", values)
    text = (tmp_path / "params.yaml").read_text()
    assert yaml.load(text, Loader=Yaml12Loader) == values


def test_the_shipped_params_fit_every_section(top: Path) -> None:
    for section, cls in SECTIONS.items():
        read_params(top / "params.yaml", section, cls)
    shipped = yaml.load((top / "params.yaml").read_text(), Loader=Yaml12Loader)
    assert shipped.keys() == SECTIONS.keys()


@pytest.mark.parametrize("cls", SECTIONS.values())
def test_no_value_is_chosen_in_the_code(cls: type) -> None:
    for field in fields(cls):
        with pytest.raises(TypeError):
            cls(**{other.name: None for other in fields(cls) if other is not field})
        assert field.metadata["meaning"].strip()
