"""Pydantic models of parameters and configs, and one list of all problems of a mapping."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Strict, ValidationError
from pydantic_core import ErrorDetails

from fishdvc.errors import FishdvcError, list_problems

NAMES_OF_TYPES = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping",
}
"""Names by pydantic's error types."""

UNKNOWN_KEY = ("extra_forbidden", "invalid_key")
Item = TypeVar("Item")
Items = Annotated[tuple[Item, ...], Strict(False)]
"""A tuple that is written as a list in YAML or JSON. Its items are checked strictly."""


class Checked(BaseModel):
    """Base of all parameter sections and configs: frozen, no unknown keys, no type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def inconsistencies(self) -> Iterable[str]:
        """Yield one line for each pair of valid values that do not fit together."""
        return ()


CheckedT = TypeVar("CheckedT", bound=Checked)


def parse(
    values: object, cls: type[CheckedT], *, where: str, error: type[FishdvcError]
) -> CheckedT:
    """Check a mapping and build a model from it.

    Args:
        values: Usually a mapping of field names to values.
        cls: The model to build.
        where: File and section, the first words of the error message.
        error: Type of the exception.

    Raises:
        FishdvcError: Of type ``error``. Keys are unknown or missing, or values have the wrong type,
            are out of range or do not fit together. The message lists every problem.
    """
    try:
        parsed = cls.model_validate(values)
    except ValidationError as invalid:
        problems = list(_problems(invalid, cls))
    else:
        problems = list(parsed.inconsistencies())
        if not problems:
            return parsed
    raise error(list_problems(f"{where}: correct these values", problems))


def did_you_mean(name: object, candidates: Iterable[object]) -> str:
    """Return ``; did you mean 'X'?`` for the most similar candidate, or an empty string."""
    matches = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _problems(invalid: ValidationError, cls: type[BaseModel]) -> Iterator[str]:
    """Yield one line for each value. The alternatives of a union become one line."""
    by_path: dict[str, tuple[type[BaseModel], list[ErrorDetails]]] = {}
    for details in invalid.errors(include_url=False):
        path, model = _locate(details, cls)
        by_path.setdefault(path, (model, []))[1].append(details)
    for path, (model, errors) in by_path.items():
        yield f"{path}: {_message(errors, model)}" if path else _message(errors, model)


def _locate(details: ErrorDetails, cls: type[BaseModel]) -> tuple[str, type[BaseModel]]:
    """Return ``section.key[index]`` without pydantic's union labels, and the model of the key."""
    path, model, inner = "", cls, cls
    for part in details["loc"]:
        model = inner
        if part in model.model_fields:
            path += f".{part}" if path else str(part)
            annotation = model.model_fields[str(part)].annotation
            inner = annotation if _is_model(annotation) else model
        elif isinstance(part, int) and path:
            path += f"[{part}]"
        elif details["type"] in UNKNOWN_KEY:
            path += f".{part}" if path else str(part)
    return path, model


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _message(errors: list[ErrorDetails], model: type[BaseModel]) -> str:
    first = errors[0]
    key = first["loc"][-1] if first["loc"] else ""
    if first["type"] in UNKNOWN_KEY:
        return f"unknown{did_you_mean(key, model.model_fields)}"
    if first["type"] == "missing":
        description = model.model_fields[str(key)].description
        return f"missing; {description}" if description else "missing"
    wanted = " or ".join(dict.fromkeys(_wanted(details) for details in errors))
    shown = "nothing" if first["input"] is None else repr(first["input"])
    literals = [word for details in errors for word in _literals(details)]
    return f"must be {wanted}, got {shown}{did_you_mean(first['input'], literals)}"


def _wanted(details: ErrorDetails) -> str:
    return NAMES_OF_TYPES.get(details["type"], details["msg"].removeprefix("Input should be "))


def _literals(details: ErrorDetails) -> list[str]:
    if details["type"] != "literal_error":
        return []
    return re.findall(r"'([^']*)'", details["ctx"]["expected"])
