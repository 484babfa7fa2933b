"""What the benches on real images share: image sets as a run makes them, and one arm trained and scored."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aerodet import stages
from aerodet.data import ImageSet
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.device import pick_device
from aerodet.detectnet.inference import TorchPredictor, detect
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import parse_spec
from aerodet.detectnet.train import train
from aerodet.metrics import coco_ap
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import Profile


@dataclass(frozen=True)
class Score:
    """AP50 and AP75 in percent by name of the test set; steps, and seconds with compiling and recording."""

    ap: Mapping[str, tuple[float, float]]
    steps: int
    seconds: float


def cut(profile: Profile, source: Path, part: str, seed: int, folder: Path) -> ImageSet:
    """Cut a COCO folder into tiles as stage ``ingest`` does; part is ``train``, ``test`` or ``all``."""
    data = profile.data
    stages.ingest(
        dataset=folder,
        source=str(source),
        part=part,
        classes=data.classes or profile.classes,
        size=profile.size,
        overlap=data.overlap,
        scale=data.scale,
        min_visible=data.min_visible,
        keep_empty=data.keep_empty,
        tile_format=data.tile_format,
        on_bad_box=data.on_bad_box,
        duplicates=data.duplicates,
        test_fraction=data.test_fraction,
        seed=seed,
        min_side=data.min_side,
    )
    return ImageSet(folder)


def trained(
    profile: Profile, images: ImageSet, test: ImageSet, places: Mapping[str, Collection[str]], seed: int
) -> Score:
    """Train the profile's real arm on all of a set, and score it on the named places of another."""
    spec = parse_spec(arm_spec(profile, profile.real, load_graph=False, qat=False))
    epoch = -(-len(images) // profile.training.batch_size)
    spec.training_config.num_epochs = max(1, round(profile.real.steps / epoch))
    with TemporaryDirectory() as folder:
        out, began = Path(folder) / "model", time.perf_counter()
        made = train(spec, [(images, range(len(images)))], out=out, seed=seed, compile=profile.training.compile)
        seconds = made.seconds or time.perf_counter() - began
        model, _ = load_model(out)
    found = detect(TorchPredictor(model, pick_device()), test, settings_of(spec), show=False)
    scores = {}
    for name, groups in places.items():
        chosen = [n for n, record in enumerate(test.records) if record.group in groups]
        truth = [test.records[n].truth for n in chosen]
        ap = coco_ap(truth, [found[n] for n in chosen], len(test.classes))
        scores[name] = (100 * ap.ap50, 100 * ap.ap75)
    return Score(scores, made.epochs * epoch, seconds)
