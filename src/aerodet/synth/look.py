"""Looks: what is drawn at random for a scene, in YAML, so that every ingredient can be changed or switched off.

::

    load_look("varied")                                       one that comes with aerodet
    load_look("my-look.yaml", ["sensor.noise=null", "light.shadows=false"])

A range is ``[low, high]``, drawn evenly for each scene; ``null`` switches its step off.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from aerodet.errors import SpecError
from aerodet.synth.types import FLEETS

__all__ = [
    "Atmosphere",
    "Clutter",
    "Ground",
    "Labels",
    "Layout",
    "Light",
    "Look",
    "Sensor",
    "View",
    "load_look",
    "look_names",
    "look_text",
]

SURFACES = ("concrete", "asphalt", "runway", "grass", "roof", "marking")
SCHEMES = ("white", "tail", "full", "dark", "metal", "military")


Range = tuple[float, float]


def _within(low: float, high: float) -> AfterValidator:
    """Return a check of a range: its ends lie between two numbers, the lower one first."""

    def check(value: Range | None) -> Range | None:
        if value is not None and not low <= value[0] <= value[1] <= high:
            raise ValueError(
                f"give a range within {low:g} to {high:g}, low end first, not [{value[0]:g}, {value[1]:g}]"
            )
        return value

    return AfterValidator(check)


Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=5)]
_Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[_Level, _Level, _Level]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Light(_Section):
    """The sun and the sky."""

    elevation: Annotated[Range, _within(5, 90)] = (30, 62)  # of the sun, degrees
    ambient: Annotated[Range, _within(0.1, 0.9)] = (0.34, 0.5)  # share of the light that comes from the sky
    shadows: bool = True  # solids cast shadows on the ground


class View(_Section):
    """Where the camera is."""

    off_nadir: Annotated[Range, _within(0, 30)] = (0, 14)  # degrees
    zoom: Annotated[Range, _within(0.25, 4)] = (1, 1)  # factor of the ground sample distance, drawn per scene


class Ground(_Section):
    """What the ground shows."""

    texture: Amount = 0.85  # contrast of noise, slabs, stains and wear
    spread: Annotated[float, Field(ge=0, le=80)] = 9  # of an airport's brightness about its colours
    hue: Annotated[float, Field(ge=0, le=60)] = 2  # of each colour channel
    snow: Share = 0  # share of the scenes under snow
    wet: Share = 0  # share of the scenes after rain


class Layout(_Section):
    """Where aircraft stand."""

    scatter: Share = 0  # share of them that stand anywhere, headed anywhere, instead of at gates, in rows or queues


class Clutter(_Section):
    """What stands about."""

    vehicles: Amount = 0.7  # service vehicles, cars and trees, relative to a busy apron
    equipment: Amount = 0  # rows of containers, dollies and steps beside the stands
    decoys: Amount = 0.7  # objects easily mistaken for aircraft
    wear: Annotated[float, Field(ge=0, le=0.5)] = 0.04  # of the paint of aircraft


class Atmosphere(_Section):
    """What lies between."""

    haze: Annotated[Range | None, _within(0, 0.9)] = (0, 0.14)  # share of the light that haze adds
    clouds: Share = 0.1  # share of the scenes with shadows of clouds


class Sensor(_Section):
    """The camera, and the ground segment behind it; in the order in which they work."""

    blur: Annotated[Range | None, _within(0, 4)] = (0.4, 0.8)  # standard deviation of the point spread, pixels
    shot: Annotated[Range | None, _within(0, 2)] = (0.01, 0.09)  # variance of noise per grey level
    read: Annotated[Range | None, _within(0, 30)] = (0.5, 1.5)  # standard deviation of noise, grey levels
    coloured: Share = 0.3  # noise of single bands, relative to what all share
    sharpening: Annotated[Range | None, _within(0, 2)] = (0, 0.7)  # strength of the halo
    saturation: Annotated[Range | None, _within(0, 2)] = None  # 1 leaves colours as they are
    contrast: Annotated[Range | None, _within(0.3, 3)] = (0.9, 1.2)  # about the scene's mean
    gamma: Annotated[Range | None, _within(0.3, 3)] = (1.1, 1.6)  # of the stretch
    gain: Annotated[Range | None, _within(0.3, 3)] = (0.92, 1.22)  # of all channels
    offset: Annotated[Range | None, _within(-60, 60)] = None  # of all channels, grey levels
    warmth: Annotated[Range | None, _within(-0.4, 0.4)] = (-0.03, 0.09)  # red up and blue down by this share
    jpeg: Annotated[Range | None, _within(5, 100)] = (45, 92)  # quality


class Labels(_Section):
    """How aircraft are labelled."""

    margin: Annotated[Range, _within(0, 0.5)] = (
        0,
        0,
    )  # of a box on every side, as a share of its own; people leave some


class Look(_Section):
    """Everything that a scene draws at random, but for where things other than aircraft stand.

    Attributes:
        name: what the images and airports are called after.
        palette: surface -> RGB candidates.
        liveries: livery scheme -> share.
        fleets: what parks at remote stands -> share.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    description: str = ""
    palette: dict[str, list[Colour]]
    liveries: dict[str, Amount]
    fleets: dict[str, Amount] = {"regional": 0.2, "narrow": 0.4, "military": 0.2, "wide": 0.2}
    light: Light = Light()
    view: View = View()
    ground: Ground = Ground()
    layout: Layout = Layout()
    clutter: Clutter = Clutter()
    atmosphere: Atmosphere = Atmosphere()
    sensor: Sensor = Sensor()
    labels: Labels = Labels()

    @model_validator(mode="after")
    def _complete(self) -> Look:
        for name, given, known in (
            ("palette", self.palette, SURFACES),
            ("liveries", self.liveries, SCHEMES),
            ("fleets", self.fleets, FLEETS),
        ):
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(f"{name}: '{unknown[0]}' is none of {', '.join(known)}")
        if missing := [surface for surface in SURFACES if not self.palette.get(surface)]:
            raise ValueError(f"palette: there is no colour for {missing[0]}")
        for name, shares in (("liveries", self.liveries), ("fleets", self.fleets)):
            if not sum(shares.values()) > 0:
                raise ValueError(f"{name}: at least one share must be above 0")
        return self


def look_names() -> list[str]:
    """Return the names of the looks that come with aerodet."""
    folder = files("aerodet.synth").joinpath("looks")
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_look(source: str | Path, overrides: Sequence[str] = ()) -> Look:
    """Read a look.

    Args:
        source: one of :func:`look_names`, the path of a YAML file, or the YAML itself (a pod has no file of yours).
        overrides: ``key=value`` pairs; keys are dotted (``light.shadows=false``), values YAML.

    Raises:
        SpecError: there is no such look, it is no YAML, or a value is out of its limits.
    """
    text, origin = _text(str(source))
    try:
        content = yaml.safe_load(text)
        for override in overrides:
            _apply(content, override)
        return Look.model_validate(content)
    except yaml.YAMLError as error:
        raise SpecError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        sentence = f"'{where}' is nothing that a look has" if first["type"] == "extra_forbidden" else f"{where}: {what}"
        raise SpecError(f"{origin}: {sentence.removeprefix(': ')}") from error


def look_text(source: str) -> str:
    """Return what stands for a look on another machine: its name, or the text of its file.

    Raises:
        SpecError: there is no such look.
    """
    return source if source in look_names() else _text(source)[0]


def _text(source: str) -> tuple[str, str]:
    if "\n" in source:
        return source, "the look"
    if source in look_names():
        return files("aerodet.synth").joinpath("looks", f"{source}.yaml").read_text(encoding="utf-8"), f"look {source}"
    path = Path(source)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path.read_text(encoding="utf-8"), source
    raise SpecError(f"there is no look '{source}'; choose one of {', '.join(look_names())}, or give a YAML file")


def _apply(content: Any, override: str) -> None:
    key, separator, value = override.partition("=")
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else None
    if not separator or not last or not isinstance(place, dict):
        raise SpecError(f"a setting is key=value with a key of the look, such as light.shadows=false, not '{override}'")
    place[last] = yaml.safe_load(value)
