"""Experiment specs as text: TAO's protobuf text form, read and written.

``experiment.proto`` beside this file is the schema. A spec that sets none of our own fields (``model_config.width``,
``bn_momentum``, ``spatial_augmentation.turn_probability``) is a TAO spec and drives the TAO containers too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from google.protobuf import text_format

from aerodet.detectnet._experiment_pb2 import DatasetExportConfig, Experiment, Inference
from aerodet.errors import SpecError

__all__ = ["DatasetExportConfig", "Experiment", "Inference", "format_spec", "parse_message", "parse_spec", "read_spec"]

_Message = TypeVar("_Message", Experiment, DatasetExportConfig, Inference)

_POOL = Experiment.DESCRIPTOR.file.pool
_PACKAGE = Experiment.DESCRIPTOR.file.package + "."
_OWN_FIELDS = {  # with the value that 0 stands for
    ("model_config", "width"): 1.0,
    ("model_config", "bn_momentum"): 0.99,
    ("augmentation_config.spatial_augmentation", "turn_probability"): 0.0,
}

_OTHER_SPECS = {
    "DatasetExportConfig": "the spec of a conversion to TFRecords",
    "Inference": "the spec of an inference",
}

# The parser's words for a wrong value, and ours.
_WANTED = {
    "Couldn't parse integer": "a whole number",
    "Couldn't parse float": "a number",
    'Expected "true" or "false"': "true or false",
    "Expected string": 'a string in quotes ("")',
    "Value out of range": "a whole number in the field's range",
}


def read_spec(path: Path | str) -> Experiment:
    """Read an experiment spec from a file.

    Raises:
        SpecError: the file cannot be read or does not parse; the message starts with file name and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; name an experiment spec") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not a readable text file ({error})") from None
    return parse_spec(text, path.name)


def parse_spec(text: str, name: str = "spec") -> Experiment:
    """Parse an experiment spec; :func:`aerodet.detectnet.limits.check_limits` then judges its values.

    Args:
        text: the spec in protobuf text form.
        name: what error messages call it, usually a file name.

    Raises:
        SpecError: an unknown field or a value of the wrong type, with its line.
    """
    return parse_message(text, Experiment, name)


def parse_message(text: str, kind: type[_Message], name: str = "spec") -> _Message:
    """Parse a spec of any task: an Experiment, a DatasetExportConfig or an Inference.

    Raises:
        SpecError: as :func:`parse_spec`.
    """
    try:
        return cast("_Message", text_format.Parse(text, kind()))
    except text_format.ParseError as error:
        line, column = error.GetLine() or 1, error.GetColumn() or 1
        raise SpecError(f"{name}:{line}: {_explain(error, text, line, column)}") from None


def format_spec(spec: Experiment | DatasetExportConfig | Inference, *, for_tao: bool = False) -> str:
    """Write a spec as text; parsing the text gives an equal spec.

    Args:
        spec: what to write.
        for_tao: leave out our own fields, which TAO does not know.

    Raises:
        SpecError: ``for_tao`` and one of our own fields has a value that TAO cannot reproduce.
    """
    if for_tao and isinstance(spec, Experiment):
        spec = _without_own_fields(spec)
    return str(text_format.MessageToString(spec))


def _without_own_fields(spec: Experiment) -> Experiment:
    copy = Experiment()
    copy.CopyFrom(spec)
    for (block, field), neutral in _OWN_FIELDS.items():
        message: Any = copy
        for name in block.split("."):
            message = getattr(message, name)
        value = getattr(message, field)
        if value and abs(value - neutral) > 1e-6:
            raise SpecError(
                f"{block}.{field} is {value:.7g}, which TAO does not have; "
                f"set it to {neutral:g} or use the torch backend"
            )
        if value:
            message.ClearField(field)
    return copy


# ------------------------------------------------------------------------------------------- messages for people


def _explain(error: text_format.ParseError, text: str, line: int, column: int) -> str:
    """Turn the parser's complaint into a sentence that names the field and, where it can, the way out."""
    source = dict(enumerate(text.splitlines(), start=1)).get(line, "")
    problem = re.sub(r"^\d+:\d+ : ", "", str(error)).replace(_PACKAGE, "")
    problem = problem.removeprefix(f"'{source}': ")  # the parser repeats the whole line
    if found := re.match(r'Message type "(.+?)" has no field named "(.+?)"', problem):
        return f"no field {found[2]!r} in {found[1]}{_where_else(found[2], found[1])}"
    if found := re.search(r'Enum type "(.+?)" has no value named (\w+)', problem):
        values = _POOL.FindEnumTypeByName(_PACKAGE + found[1]).values_by_name
        return f"no value {found[2]!r} in {found[1]}; it is one of {', '.join(values)}"
    for complaint, wanted in _WANTED.items():
        if problem.startswith(complaint):
            return _wrong_value(source, column, wanted)
    return problem.rstrip(".")


def _wrong_value(source: str, column: int, wanted: str) -> str:
    name = re.search(r"(\w+)\s*:\s*(?:\[[^]]*)?$", source[: column - 1])
    field = name[1] if name else "the value"
    value = re.match(r"[^\s;,}\]#]*", source[column - 1 :])
    advice = "; write it without a decimal point: it is an integer since TAO 5" if field == "dbscan_min_samples" else ""
    return f"{field} must be {wanted}, not {value[0] if value else ''}{advice}"


def _where_else(field: str, message: str) -> str:
    """Return the likely cure for a field that ``message`` does not have."""
    messages = list(_all_messages())
    own = next(m for m in messages if m.full_name == _PACKAGE + message)
    if owners := [m.full_name.removeprefix(_PACKAGE) for m in messages if field in m.fields_by_name]:
        other = next((f", {_OTHER_SPECS[name]}" for name in owners if name in _OTHER_SPECS), "")
        return f"; it belongs to {' and '.join(owners)}{other}"
    if close := difflib.get_close_matches(field, own.fields_by_name, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; it has {', '.join(own.fields_by_name)}"


def _all_messages() -> Iterator[Any]:
    waiting = list(Experiment.DESCRIPTOR.file.message_types_by_name.values())
    for message in waiting:
        yield message
        waiting += [m for m in message.nested_types if not m.GetOptions().map_entry]
