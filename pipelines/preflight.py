"""What can be checked before a run starts: the folders that it names, and that their data can be split and sampled."""

from __future__ import annotations

from pathlib import Path

from aerodet.data import Images, ImageSet, check_image_set, is_image_set, published_split, read_coco, split_by_fraction
from aerodet.errors import DataError, SpecError
from aerodet.pipelines.profiles import Profile
from aerodet.synth import CLASSES, SceneSettings, load_look

__all__ = ["check"]


def check(profile: Profile) -> None:
    """Check a profile's sources; pixels are read by the stages, not here.

    Raises:
        DataError: a folder cannot be used as it is; the sentence says what to do.
        SpecError: scenes cannot be rendered as the profile has them.
    """
    data = profile.data
    for name in ("real", "synthetic", "test"):
        source = getattr(data, name)
        if not source:
            continue
        if not Path(source).is_dir():
            raise DataError(f"--{name} {source} is not a folder; give a folder with images and a COCO file")
        if is_image_set(source):
            images = ImageSet(source)
            check_image_set(images, profile.classes, profile.size)
            if name == "real" and not data.test:
                _check_split(images, source, data.test_fraction, profile.seed)
            continue
        split = published_split(source, "test" if name == "test" else "train")
        coco = read_coco(
            Path(source),
            classes=data.classes or profile.classes,
            class_from=data.class_from or None,
            on_bad_box=data.on_bad_box,
            on_bad_entry=data.on_bad_entry,
            duplicates=data.duplicates,
            min_side=data.min_side,
            split=split,
        )
        if coco.classes != tuple(profile.classes):
            raise SpecError(
                f"data.classes give {', '.join(coco.classes)}, but the classes are {', '.join(profile.classes)}; "
                "write the name to read and the class, such as plane:aircraft, for each"
            )
        if name == "real" and not data.test and split is None:
            _check_split(coco, source, data.test_fraction, profile.seed)
    if not (data.real and data.synthetic):
        _check_rendering(profile)


def _check_split(coco: Images, source: str, fraction: float, seed: int) -> None:
    if len({record.group for record in coco.records}) < 2:
        raise DataError(
            f"{source}: all {len(coco.records)} images show one place, so none can be held apart for testing; "
            "give --test, or a 'group' to each image entry of the COCO file"
        )
    split = split_by_fraction(coco.records, fraction, seed)
    if not split.boxes_taken or split.boxes_taken == split.boxes:
        raise DataError(f"{source}: one side of the test split has no boxes; set data.test_fraction or give --test")


def _check_rendering(profile: Profile) -> None:
    if tuple(profile.classes) != CLASSES:
        raise SpecError(
            f"classes are {', '.join(profile.classes)}, but rendered scenes show {', '.join(CLASSES)}; give --real and "
            f"--synthetic, or read your class as that one: --set data.classes=[{profile.classes[0]}:{CLASSES[0]}]"
        )
    for look in ("sensor", profile.embedded.look):
        SceneSettings(size=profile.size, gsd=profile.embedded.gsd, look=load_look(look))
