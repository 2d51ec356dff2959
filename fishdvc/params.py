"""Read one section of params.yaml into a frozen dataclass, reporting every problem at once.

Knows nothing of what the parameters mean: each stage declares its own dataclass, whose fields carry
a type, a sentence for people and the range that is allowed. No field has a default: params.yaml is
the one place where a value is chosen.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fishdvc.errors import ParamsError, list_problems

Params = TypeVar("Params")


def param(
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a parameter: what it does, and the range it may take.

    Args:
        meaning: One sentence for people, with the unit.
        at_least: The smallest value allowed.
        above: All values must be larger than this.
        at_most: The largest value allowed.
        below: All values must be smaller than this.
    """
    limits = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    metadata = {"meaning": meaning, "limits": {k: v for k, v in limits.items() if v is not None}}
    return dataclasses.field(metadata=metadata)


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2, the version that DVC reads and writes.

    In YAML 1.1, PyYAML's own, ``1e-4`` is a string, ``off`` a boolean and ``1:30`` the number 90.
    """


Yaml12Loader.yaml_implicit_resolvers = {}

Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    digits = str(loader.construct_scalar(node)).replace("_", "").lower()
    # A leading zero means nothing in YAML 1.2: 010 is ten.
    return int(digits, 0 if "x" in digits or "o" in digits else 10)


Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read_params(path: Path, section: str, cls: type[Params]) -> Params:
    """Read a section of a params.yaml.

    Args:
        path: The YAML file.
        section: The name of a mapping at its top level.
        cls: A dataclass whose fields are made by :func:`param`.

    Raises:
        ParamsError: The file or the section is missing, or values in it are unknown, missing, of
            the wrong type or out of range; every problem of the section is in the message.
    """
    sections = _read_yaml(path)
    if section not in sections:
        hint = _did_you_mean(section, sections)
        raise ParamsError(f"{path}: no section {section!r}{hint}; add it")
    values = sections[section]
    if not isinstance(values, dict):
        raise ParamsError(
            f"{path}: {section}: must be a mapping of parameters, got {_shown(values)}"
        )
    return parse_params(values, cls, where=f"{path}: {section}")


def parse_params(values: dict[str, Any], cls: type[Params], *, where: str) -> Params:
    """Check a mapping against a dataclass of parameters and build it; see :func:`read_params`."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    problems = [
        f"{key}: unknown parameter{_did_you_mean(str(key), fields)}"
        for key in values
        if key not in fields
    ]
    checked = {}
    for name, field in fields.items():
        if name not in values:
            problems.append(f"{name}: missing; it is: {field.metadata['meaning']}")
            continue
        value, problem = _convert(values[name], hints[name])
        problem = problem or _out_of_range(value, field.metadata["limits"])
        if problem:
            problems.append(f"{name}: {problem}")
        checked[name] = value
    if problems:
        raise ParamsError(list_problems(f"{where}: mend these parameters", problems))
    return cls(**checked)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        # The loader is a SafeLoader: it builds plain data only.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=Yaml12Loader)
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the project's top folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: must hold sections of parameters, got {_shown(content)}")
    return content


def _convert(value: Any, hint: Any) -> tuple[Any, str | None]:
    """Return the value in the type asked for, and what is wrong with it, if anything."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        attempts = [_convert(value, arg) for arg in args]
        fitting = [converted for converted, problem in attempts if problem is None]
        if fitting:
            return fitting[0], None
        return value, f"must be {_named(hint)}, got {_shown(value)}"
    if origin is typing.Literal:
        # `true` is no spelling of 1, nor `1` of true.
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value, None
        guess = _did_you_mean(str(value), [str(arg) for arg in args])
        return value, f"must be {_named(hint)}, got {_shown(value)}{guess}"
    if origin is tuple:
        if not isinstance(value, list):
            return value, f"must be a list, got {_shown(value)}"
        items = [_convert(item, args[0]) for item in value]
        problem = next((problem for _, problem in items if problem), None)
        return tuple(item for item, _ in items), problem
    if hint is float and type(value) is int:
        return float(value), None
    if type(value) is hint or (hint is type(None) and value is None):
        return value, None
    return value, f"must be {_named(hint)}, got {_shown(value)}"


def _out_of_range(value: Any, limits: dict[str, float]) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    kept = {
        "at least": lambda limit: value >= limit,
        "above": lambda limit: value > limit,
        "at most": lambda limit: value <= limit,
        "below": lambda limit: value < limit,
    }
    if math.isfinite(value) and all(kept[name](limit) for name, limit in limits.items()):
        return None
    allowed = " and ".join(f"{name} {limit:g}" for name, limit in limits.items()) or "finite"
    return f"must be {allowed}, got {value}"


def _named(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_named(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(str(arg) for arg in args)
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
    }
    return names.get(hint, str(hint))


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r}"


def _did_you_mean(name: str, candidates: typing.Iterable[Any]) -> str:
    matches = difflib.get_close_matches(name, [str(c) for c in candidates], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
