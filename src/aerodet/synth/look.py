"""Looks: how a renderer's picture and a satellite sensor's picture of the same airport differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.synth.solids import Floats

__all__ = ["LOOKS", "Look"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look fixes before a scene is drawn, and the camera that exposes it.

    Attributes:
        palette: surface name -> RGB candidates.
        spread: standard deviation of an airport's brightness about its candidate.
        schemes: livery scheme -> share.
        sun: range of the sun's elevation, degrees.
        lean: range of the off-nadir angle, degrees.
        clutter: vehicles, stains and other objects, relative to a busy apron.
        texture: contrast of the ground's noise, slabs and stains.
        wear: spread of the brightness of an aircraft's faces.
        expose: (picture float32 [H,W,3] 0..255, generator, metres per pixel) -> uint8 [H,W,3].
    """

    palette: Mapping[str, Sequence[tuple[int, int, int]]]
    spread: float
    schemes: Mapping[str, float]
    sun: Range
    lean: Range
    clutter: float
    texture: float
    wear: float
    expose: Callable[[Floats, np.random.Generator], NDArray[np.uint8]]


def _render_output(picture: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A renderer's film: bright, cold, almost without colour, and the grain of too few samples."""
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.55, 0.8)
    picture = picture * rng.uniform(0.94, 1.04) * np.array([0.965, 0.985, 1.03], np.float32) + rng.uniform(4, 12)
    picture = picture + rng.uniform(0.5, 3.0) * rng.standard_normal((*picture.shape[:2], 1), np.float32)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _sensor_output(picture: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A sensor's product: haze, optics, noise, the ground segment's stretch and sharpening, and a JPEG."""
    picture = picture * _clouds(picture.shape[:2], rng)
    haze = rng.uniform(0.0, 0.14)
    picture = picture * (1 - haze) + haze * np.array([150, 158, 172], np.float32)
    blur = rng.uniform(0.4, 0.8)
    picture = cv2.GaussianBlur(picture, (0, 0), sigmaX=blur, sigmaY=blur * rng.uniform(0.85, 1.15)).astype(np.float32)

    shot, read = rng.uniform(0.01, 0.09), rng.uniform(0.5, 1.5)
    # Pan-sharpened products carry the noise of the panchromatic band in all colours, and little of their own.
    shared, own = (rng.standard_normal((*picture.shape[:2], bands), np.float32) for bands in (1, 3))
    grain = shared + 0.3 * own
    picture = picture + grain * np.sqrt(shot * np.maximum(picture, 0) + read**2)

    amount = rng.uniform(0.0, 0.7)
    soft = cv2.GaussianBlur(picture, (0, 0), sigmaX=1.4)
    picture = picture + amount * (picture - soft)

    # The stretch: contrast about a mid grey, gamma, gain and a warm cast.
    level = picture.mean()
    picture = level + (picture - level) * rng.uniform(0.9, 1.2)
    gamma = rng.uniform(1.1, 1.6)
    picture = 255 * np.power(np.clip(picture, 0, 400) / 255, gamma, dtype=np.float32)
    warmth = rng.normal(0.03, 0.035)
    cast = np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - 1.5 * warmth], np.float32)
    picture = np.clip(picture * rng.uniform(0.92, 1.22) * cast, 0, 255)
    quality = int(rng.integers(45, 92))
    _, encoded = cv2.imencode(".jpg", picture.astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _clouds(shape: tuple[int, ...], rng: np.random.Generator) -> Floats | float:
    """The light [H,W,1] that passing clouds leave; most scenes have none."""
    if rng.random() > 0.1:
        return 1.0
    cover = cv2.resize(rng.random((3, 3), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(1 - 0.4 * np.clip(3 * (cover - 0.5), 0, 1), np.float32)[..., None]


LOOKS: Mapping[str, Look] = {
    "synthetic": Look(
        palette={
            "concrete": [(186, 189, 194), (196, 198, 200), (176, 180, 186)],
            "asphalt": [(124, 128, 134), (138, 142, 146)],
            "runway": [(108, 112, 118), (124, 128, 132)],
            "grass": [(134, 154, 122), (148, 158, 132)],
            "roof": [(206, 210, 216), (176, 182, 190), (150, 158, 170), (222, 224, 228)],
            "marking": [(222, 196, 96), (226, 210, 130)],
        },
        spread=4.0,
        schemes={"white": 0.60, "tail": 0.24, "full": 0.07, "metal": 0.09},
        sun=(45, 70),
        lean=(0, 6),
        clutter=0.35,
        texture=0.6,
        wear=0.01,
        expose=_render_output,
    ),
    "sensor": Look(
        palette={
            "concrete": [
                (150, 144, 132),
                (168, 152, 126),
                (138, 136, 132),
                (178, 170, 154),
                (122, 118, 110),
                (196, 188, 172),
            ],
            "asphalt": [(82, 82, 82), (66, 66, 70), (104, 100, 94), (92, 86, 78)],
            "runway": [(70, 70, 72), (92, 90, 88), (108, 102, 94)],
            "grass": [(74, 92, 52), (104, 104, 66), (128, 112, 76), (142, 124, 88), (58, 76, 48)],
            "roof": [(188, 186, 180), (236, 236, 232), (120, 122, 126), (132, 84, 66), (86, 100, 118), (96, 122, 104)],
            "marking": [(204, 168, 70), (214, 196, 140), (190, 150, 60)],
        },
        spread=9.0,
        schemes={"white": 0.36, "tail": 0.32, "full": 0.10, "dark": 0.07, "metal": 0.08, "military": 0.07},
        sun=(30, 62),
        lean=(0, 14),
        clutter=0.7,
        texture=0.85,
        wear=0.04,
        expose=_sensor_output,
    ),
}
