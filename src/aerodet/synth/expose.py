"""Exposure: from the light that a scene sends to the picture that is delivered."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.synth.look import Atmosphere, Sensor
from aerodet.synth.solids import Floats

__all__ = ["expose", "through_air"]

_HAZE = np.array([150, 158, 172], np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def through_air(picture: Floats, air: Atmosphere, rng: np.random.Generator) -> Floats:
    """Return the picture [H,W,3], 0..255, with the shadows of clouds and with haze."""
    if rng.random() < air.clouds:
        cover = cv2.resize(rng.random((3, 3), np.float32), picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        picture = picture * (1 - 0.4 * np.clip(3 * (cover - 0.5), 0, 1))[..., None]
    if air.haze:
        haze = rng.uniform(*air.haze)
        picture = picture * (1 - haze) + haze * _HAZE
    return np.asarray(picture, np.float32)


def expose(picture: Floats, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the delivered picture.

    Args:
        picture: float32 [H,W,3] RGB, 0..255.
        sensor: what each step draws from.
        rng: source of the draws.

    Returns:
        uint8 [H,W,3] RGB.
    """
    if sensor.blur:
        blur = max(0.05, rng.uniform(*sensor.blur))
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigmaX=blur, sigmaY=blur * rng.uniform(0.85, 1.15)))
    picture = _noise(picture, sensor, rng)
    if sensor.sharpening:
        soft = cv2.GaussianBlur(picture, (0, 0), sigmaX=1.4)
        picture = picture + rng.uniform(*sensor.sharpening) * (picture - soft)
    picture = np.clip(_stretch(np.asarray(picture, np.float32), sensor, rng), 0, 255)
    delivered = picture.astype(np.uint8)
    if sensor.jpeg:
        quality = round(rng.uniform(*sensor.jpeg))
        _, encoded = cv2.imencode(".jpg", delivered[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        delivered = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(delivered)


def _noise(picture: Floats, sensor: Sensor, rng: np.random.Generator) -> Floats:
    if not (sensor.shot or sensor.read):
        return picture
    shot = rng.uniform(*sensor.shot) if sensor.shot else 0.0
    read = rng.uniform(*sensor.read) if sensor.read else 0.0
    # Pan-sharpened products carry the noise of the panchromatic band in all colours, and little of their own.
    grain = rng.standard_normal((*picture.shape[:2], 1), np.float32)
    if sensor.coloured:
        grain = grain + sensor.coloured * rng.standard_normal((*picture.shape[:2], 3), np.float32)
    return np.asarray(picture + grain * np.sqrt(shot * np.maximum(picture, 0) + read**2), np.float32)


def _stretch(picture: Floats, sensor: Sensor, rng: np.random.Generator) -> Floats:
    """Saturation, contrast, gamma, gain, cast and offset."""
    if sensor.saturation:
        grey = (picture @ _LUMA)[..., None]
        picture = np.asarray(grey + (picture - grey) * rng.uniform(*sensor.saturation), np.float32)
    if sensor.contrast:
        level = picture.mean()
        picture = level + (picture - level) * rng.uniform(*sensor.contrast)
    if sensor.gamma:
        picture = 255 * np.power(np.clip(picture, 0, 400) / 255, rng.uniform(*sensor.gamma), dtype=np.float32)
    if sensor.gain:
        picture = picture * rng.uniform(*sensor.gain)
    if sensor.warmth:
        warmth = rng.uniform(*sensor.warmth)
        picture = picture * np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - 1.5 * warmth], np.float32)
    if sensor.offset:
        picture = picture + rng.uniform(*sensor.offset)
    return np.asarray(picture, np.float32)
