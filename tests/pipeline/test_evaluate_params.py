"""Parameters of the stage evaluate that are not valid are named."""

from typing import Any

import pytest

from fishdvc.errors import ParamsError
from fishdvc.pipeline.evaluate import EvaluateParams
from fishdvc.validation import parse


def parse_changed(shipped: Any, **changes: object) -> None:
    values = shipped("evaluate").model_dump() | changes
    parse(values, EvaluateParams, where="evaluate", error=ParamsError)


@pytest.mark.parametrize("steps", [0, (), (0,), (20, 0), "al", True, 1.5])
def test_wrong_steps_are_one_problem(steps: object, shipped: Any) -> None:
    with pytest.raises(ParamsError, match=r"1 problem.*\n  checkpoints: must be all, a number"):
        parse_changed(shipped, checkpoints=steps)


@pytest.mark.parametrize("name", ["sentences", "asr_model", "listening_votes"])
def test_empty_paths_are_named(name: str, shipped: Any) -> None:
    with pytest.raises(ParamsError, match=f"{name}: must not be empty; write null"):
        parse_changed(shipped, **{name: ""})
