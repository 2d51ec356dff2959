"""Pydantic models of parameters and configs, and one list of all problems of a mapping."""

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from fishdvc.errors import CheckpointError, FishdvcError, list_problems
from fishdvc.storage.small_files import read_small_file

NAMES_OF_TYPES = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping",
}
"""Names by pydantic's error types."""

INCONSISTENT = "inconsistent"
MAX_JSON_BYTES = 10**6
"""Configs are far smaller. Parsing takes up to a hundred times the memory of the file."""
MAX_SHOWN = 100
"""Maximum number of characters of a string, and a tenth of that of items, in a message."""
UNKNOWN_KEY = ("extra_forbidden", "invalid_key")
Item = TypeVar("Item")
Items = Annotated[tuple[Item, ...], Strict(False), Field(max_length=64)]
"""A tuple that is written as a list in YAML or JSON, with a limit on what a file may state. Its
items are checked strictly."""


class Checked(BaseModel):
    """Base of all parameter sections and configs: frozen, no unknown keys, no type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def inconsistencies(self) -> Iterable[str]:
        """Yield ``key: problem`` for values that are valid but do not fit together."""
        return ()

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        problems = list(self.inconsistencies())
        if problems:
            raise PydanticCustomError(INCONSISTENT, "\n".join(problems))
        return self


CheckedT = TypeVar("CheckedT", bound=Checked)


def parse(
    values: object, cls: type[CheckedT], *, where: str, error: type[FishdvcError]
) -> CheckedT:
    """Check a mapping of field names to values, and build a model from it.

    Args:
        values: Usually a mapping.
        cls: The model to build.
        where: File and section, the first words of the error message.
        error: Type of the exception.

    Raises:
        FishdvcError: Of type ``error``. Keys are unknown or missing, or values have the wrong type,
            are out of range or do not fit together. The message lists every problem.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as invalid:
        problems = list(_problems(invalid, cls))
    raise error(list_problems(f"{where}: correct these values", problems))


def parse_json(path: Path, cls: type[CheckedT]) -> CheckedT:
    """Read a JSON file of a checkpoint and build a model from it.

    Raises:
        CheckpointError: The file cannot be read, or its values are invalid as in ``parse``.
    """
    try:
        values = json.loads(read_small_file(path, max_bytes=MAX_JSON_BYTES))
    # Deep nesting raises RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", error)
        raise CheckpointError(f"cannot read {path}: {reason}; copy the file again") from error
    return parse(values, cls, where=str(path), error=CheckpointError)


def shown(value: object) -> str:
    """Return the ``repr`` of a value, shortened if it is long or deep."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = MAX_SHOWN
    short.maxlist = short.maxtuple = short.maxdict = MAX_SHOWN // 10
    short.maxlevel = 3
    try:
        return short.repr(value)
    except ValueError:  # Python refuses to convert very long integers.
        return f"a value of type {type(value).__name__}"


def did_you_mean(name: object, candidates: Iterable[object]) -> str:
    """Return ``; did you mean 'X'?`` for the most similar candidate, or an empty string."""
    if not isinstance(name, str) or len(name) > MAX_SHOWN:
        return ""
    matches = difflib.get_close_matches(name, [str(c) for c in candidates], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _problems(invalid: ValidationError, cls: type[BaseModel]) -> Iterator[str]:
    # The alternatives of a union are consecutive errors at the same place. They become one line.
    errors = groupby(invalid.errors(include_url=False), lambda e: _locate(e["loc"], cls))
    for (path, model), alternatives in errors:
        first, *others = alternatives
        if first["type"] == INCONSISTENT:
            yield from (f"{path}.{line}".lstrip(".") for line in first["msg"].splitlines())
        else:
            yield f"{path}: {_message([first, *others], model)}".removeprefix(": ")


def _locate(loc: tuple[int | str, ...], cls: type[BaseModel]) -> tuple[str, type[BaseModel]]:
    """Return ``section.key[index]`` and the model that the key belongs to."""
    path, owner = "", cls
    model: type[BaseModel] | None = cls
    for part in loc:
        if isinstance(part, int) and path:
            path += f"[{part}]"
        elif model is not None:  # Otherwise ``part`` is pydantic's name of a union's alternative.
            path += f".{part}" if path else str(part)
            owner, field = model, model.model_fields.get(str(part))
            annotation = field.annotation if field else None
            if get_origin(annotation) is tuple:
                annotation = get_args(annotation)[0]
            model = None
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                model = annotation
    return path, owner


def _message(alternatives: list[ErrorDetails], model: type[BaseModel]) -> str:
    first = alternatives[0]
    value = first["input"]
    if first["type"] in UNKNOWN_KEY:
        return f"unknown{did_you_mean(first['loc'][-1], model.model_fields)}"
    if first["type"] == "missing":
        description = model.model_fields[str(first["loc"][-1])].description
        return f"missing; {description}" if description else "missing"
    expected = " or ".join(dict.fromkeys(_expected(details) for details in alternatives))
    got = "nothing" if value is None else shown(value)
    literals = re.findall(r"'(.*?)'", expected)
    return f"must be {expected}, got {got}{did_you_mean(value, literals)}"


def _expected(details: ErrorDetails) -> str:
    return NAMES_OF_TYPES.get(details["type"], details["msg"].removeprefix("Input should be "))
