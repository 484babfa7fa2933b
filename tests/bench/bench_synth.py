"""How fast scenes are rendered: scenes a second in one process, its stages, and how it grows with processes.

    python tests/bench/bench_synth.py [--size 512] [--gsd 0.5] [--look varied] [--scenes 60] [--processes 1,2]

Stages are timed one inside another by wrapping the functions that make them; the rest is layout and drawing of lots.
The growth is measured on whole sets, one number of processes after the other, with their start-up taken off.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from aerodet.synth import SceneSettings, load_look, render_scene, render_scenes, scenes
from aerodet.synth.ground import Ground

# What a scene's time goes into, by the function that does it. "furnish" is what is left of _furnish without wear.
STAGES = {
    "furnish": (scenes, "_furnish"),
    "wear": (scenes, "wear"),
    "crossings": (scenes, "connectors"),
    "solids": (scenes, "paint_solids"),
    "ground": (Ground, "finish"),
    "shadows": (scenes, "shadow_mask"),
    "air": (scenes, "through_air"),
    "sensor": (scenes, "expose"),
}


def timed(spent: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its time added to ``spent``."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - began

    return wrapper


def stages(settings: SceneSettings, count: int) -> dict[str, float]:
    """Return the seconds a scene of each stage and of the whole, in this process."""
    spent: dict[str, float] = defaultdict(float)
    originals = {name: getattr(place, function) for name, (place, function) in STAGES.items()}
    for name, (place, function) in STAGES.items():
        setattr(place, function, timed(spent, name, originals[name]))
    try:
        began = time.perf_counter()
        for index in range(count):
            render_scene(settings, 1, index)
        spent["scene"] = time.perf_counter() - began
    finally:
        for name, (place, function) in STAGES.items():
            setattr(place, function, originals[name])
    spent["furnish"] -= spent["wear"] + spent["crossings"]
    spent["other"] = 2 * spent["scene"] - sum(spent.values())
    return {name: seconds / count for name, seconds in spent.items()}


def rate(settings: SceneSettings, count: int, workers: int) -> float:
    """Return scenes a second of several processes, from the first finished chunks to the last scene."""
    done, began = 0, 0.0
    for number, _ in enumerate(render_scenes(settings, count, 1, workers)):
        if number == count // 4:
            began = time.perf_counter()
        done = number
    return (done - count // 4) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--gsd", type=float, default=0.5)
    parser.add_argument("--look", default="varied")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--processes", default=f"1,{os.cpu_count()}")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    settings = SceneSettings(size=options.size, gsd=options.gsd, look=load_look(options.look))
    render_scene(settings, 1, 0)
    table = Table(title=f"One process, {options.size} px, {options.look}", title_justify="left", box=None)
    for heading in ("stage", "ms a scene", "scenes/s"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, seconds in sorted(stages(settings, options.scenes).items(), key=lambda pair: -pair[1]):
        table.add_row(name, f"{1000 * seconds:.1f}", f"{1 / seconds:.1f}")
    growth = Table(title="Processes", title_justify="left", box=None)
    for heading in ("processes", "scenes/s", "of one process's"):
        growth.add_column(heading, justify="right")
    numbers = [int(number) for number in options.processes.split(",")]
    rates = {number: rate(settings, options.scenes * number * 2, number) for number in numbers}
    for number, scenes_a_second in rates.items():
        growth.add_row(str(number), f"{scenes_a_second:.1f}", f"{scenes_a_second / rates[numbers[0]]:.2f}")
    Console().print(table, growth)


if __name__ == "__main__":
    main()
