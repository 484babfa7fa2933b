"""What each ingredient of the scenes brings: train on scenes alone, with it and without, and test on photographs.

::

    python tests/bench/bench_looks.py --real airbus-train --profile laptop
    python tests/bench/bench_looks.py --real airbus-train --profile gpu --seeds 0,1,2 --tuned 0,2,19

A line a network; the mean over the seeds last. Seeds change the scenes and the training. ``--tuned`` names the places
that the look was chosen on, which are then told apart from the others. The next scenes are rendered while a
network trains.
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import yaml
from arms import Score, cut, trained

from aerodet import stages
from aerodet.data import ImageSet
from aerodet.pipelines.profiles import Profile, load_profile
from aerodet.synth import load_look

SENSOR = ("blur", "shot", "read", "sharpening", "saturation", "contrast", "gamma", "gain", "offset", "warmth", "jpeg")
PLAIN = {
    "concrete": [[147, 139, 126]],
    "asphalt": [[92, 90, 88]],
    "runway": [[100, 98, 94]],
    "grass": [[78, 84, 60]],
    "roof": [[206, 204, 198]],
    "marking": [[200, 176, 104]],
}
WITHOUT = {
    "nothing": [],
    "shadows": ["light.shadows=false"],
    "sensor and air": [*(f"sensor.{name}=null" for name in SENSOR), "atmosphere.haze=null", "atmosphere.clouds=0"],
    "layout": ["layout.scatter=1"],
    "clutter": ["clutter.vehicles=0", "clutter.equipment=0", "clutter.decoys=0"],
    "liveries": ["liveries={white: 1}"],
    "wear and texture": ["clutter.wear=0", "ground.texture=0"],
    "colours of the ground": [
        f"palette={PLAIN}",
        "ground.spread=0",
        "ground.hue=0",
    ],
    "off-nadir view and zoom": ["view.off_nadir=[0, 0]", "view.zoom=[1, 1]"],
    "margin of the boxes": ["labels.margin=[0, 0]"],
}
_WORLD = 2_000_003  # that of a run's synthetic arm


def main() -> None:
    """Render, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="COCO folder to test on, all of it")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--tuned", default="", help="places, by group")
    parser.add_argument("--only", default="", help="ingredients, by name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    profile = load_profile(options.profile, options.set)
    names = options.only.split(",") if options.only else list(WITHOUT)
    scores: dict[str, list[Score]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        test = cut(profile, options.real, "all", 0, Path(folder) / "test")
        groups = {record.group for record in test.records}
        tuned = groups & set(options.tuned.split(","))
        places = {"tuned": tuned, "others": groups - tuned} if tuned else {"all": groups}
        wanted = [(seed, name) for seed in map(int, options.seeds.split(",")) for name in names]
        for seed, name, scenes in rendered(profile, wanted, Path(folder) / "scenes"):
            scores[name].append(trained(profile, scenes, test, places, seed))
            print(f"seed {seed} without {name}: {told([scores[name][-1]])}", flush=True)
    for name, found in scores.items():
        print(f"without {name}, mean of {len(found)}: {told(found)}")


def rendered(profile: Profile, wanted: list[tuple[int, str]], folder: Path) -> Iterator[tuple[int, str, ImageSet]]:
    """Yield the scenes of each seed without each ingredient, made one set ahead; a set that was used is deleted."""
    with ThreadPoolExecutor(1) as ahead:
        jobs = (ahead.submit(render, profile, seed, name, folder / f"{seed} {name}") for seed, name in wanted)
        job = next(jobs)
        for seed, name in wanted:
            scenes, job = job.result(), next(jobs, job)
            yield seed, name, ImageSet(scenes)
            shutil.rmtree(scenes)


def render(profile: Profile, seed: int, name: str, folder: Path) -> Path:
    """Render the profile's synthetic scenes without an ingredient."""
    stages.synthesize(
        dataset=folder,
        look=yaml.safe_dump(load_look(profile.embedded.look, WITHOUT[name]).model_dump(mode="json")),
        count=profile.embedded.synthetic,
        size=profile.size,
        gsd=profile.embedded.gsd,
        seed=seed,
        world=_WORLD,
    )
    return folder


def told(scores: list[Score]) -> str:
    """Return the mean AP50 and AP75 by places."""
    means = {name: [mean(score.ap[name][n] for score in scores) for n in (0, 1)] for name in scores[0].ap}
    return ", ".join(f"{name} {ap50:.1f} ({ap75:.1f})" for name, (ap50, ap75) in means.items())


if __name__ == "__main__":
    main()
