"""TOML files as dataclasses, strictly: a missing field, an unknown one or a wrong type is an error with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RegistryError(ValueError):
    """A model or data set that is not known, or a file of the registry that breaks its rules."""


def read(kind: type[T], path: Path, /, **given: Any) -> T:
    """The file as an instance of the dataclass ``kind``; ``given`` are fields that do not come from the file."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path}: {error}") from None
    return _build(kind, data, str(path), given)


def _build(kind: Any, data: dict[str, Any], where: str, given: dict[str, Any]) -> Any:
    known = {f.name: f for f in fields(kind) if f.name not in given}
    if unknown := sorted(set(data) - set(known)):
        raise RegistryError(f"{where}: unknown field {unknown[0]!r}")
    if missing := [n for n, f in known.items() if f.default is f.default_factory is MISSING and n not in data]:
        raise RegistryError(f"{where}: field {missing[0]!r} is missing")
    hints = get_type_hints(kind)
    return kind(**given, **{name: _value(hints[name], value, f"{where}: {name}") for name, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    options = [h for h in get_args(hint) if h is not NoneType]
    if NoneType in get_args(hint):
        return _value(options[0], value, where)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(options[0], item, where) for item in value)
    if get_origin(hint) is Mapping and isinstance(value, dict):
        return {key: _value(options[1], item, where) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, where, {})
    if type(value) is not hint:
        raise RegistryError(f"{where} must be {getattr(hint, '__name__', hint)}, not {value!r}")
    return value
