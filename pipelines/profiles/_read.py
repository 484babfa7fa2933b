"""Reading profiles from YAML, with overrides from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from aerodet.errors import SpecError
from aerodet.pipelines.profiles._model import Profile

__all__ = ["load_profile", "profile_names"]


def profile_names() -> list[str]:
    """Return the names of the profiles that come with aerodet."""
    folder = files("aerodet.pipelines.profiles")
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_profile(name: str, overrides: Sequence[str] = ()) -> Profile:
    """Read a profile.

    Args:
        name: one of :func:`profile_names`, or the path of a YAML file.
        overrides: ``key=value`` pairs; keys are dotted (``finetune.steps=300``), values YAML.

    Raises:
        SpecError: no such profile, a key that does not exist, or a value out of its limits.
    """
    text, origin = _text(name)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SpecError(f"{origin} holds no profile: a mapping of names to values is expected")
    for override in overrides:
        _apply(content, override)
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{origin}: {_sentence(error)}") from error


def _text(name: str) -> tuple[str, str]:
    if name in profile_names():
        return files("aerodet.pipelines.profiles").joinpath(f"{name}.yaml").read_text(
            encoding="utf-8"
        ), f"profile {name}"
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.read_text(encoding="utf-8"), name
    raise SpecError(f"there is no profile '{name}'; choose one of {', '.join(profile_names())}, or give a YAML file")


def _apply(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise SpecError(f"--set wants key=value, such as finetune.steps=300, not '{override}'")
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise SpecError(f"--set {override}: '{parent}' is a value, it has nothing below it")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SpecError(f"--set {override}: the value is not YAML") from error


def _sentence(error: ValidationError) -> str:
    """Say the first thing that is wrong, where, and what was given."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the profile"
    if first["type"] == "extra_forbidden":
        return f"'{where}' is no setting{_meant(where)}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = "" if first["type"] == "missing" or isinstance(first["input"], dict) else f", not {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{where}: {message}{given}{more}"


def _meant(key: str) -> str:
    """Return a question for the setting that a key was probably meant to be, or nothing."""
    known = list(_settings(Profile))
    last = key.rpartition(".")[2]
    namesakes = [setting for setting in known if setting.rpartition(".")[2] == last]
    close = namesakes or get_close_matches(key, known, n=1, cutoff=0.75)
    return f"; did you mean '{close[0]}'?" if len(close) == 1 else ""


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a model's settings, at every depth."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        choices = () if get_origin(field.annotation) in (dict, list, tuple) else get_args(field.annotation)
        for kind in (field.annotation, *choices):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _settings(kind, f"{prefix}{name}.")
