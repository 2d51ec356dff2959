"""Every section of params.yaml, and the shipped values with changes."""

from functools import cache
from typing import Any

from fishdvc.cli.params import Params
from fishdvc.params import read_params
from fishdvc.validation import Checked
from tests.small_project import TOP

SECTIONS: dict[str, type[Checked]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Params.model_fields.items()
}


def shipped(name: str, **changes: Any) -> Any:
    """A section of the shipped params.yaml with unchecked changes: ``shipped("lora", r=2)``."""
    return _section(name).model_copy(update=changes)


@cache
def _section(name: str) -> Checked:
    return read_params(TOP / "params.yaml", name, SECTIONS[name])
