"""What can be checked before a run starts: the machine, the folders that it names, and that their data can be split."""

from __future__ import annotations

from pathlib import Path

from aerodet.data import Images, ImageSet, check_image_set, is_image_set, published_split, read_coco, split_by_fraction
from aerodet.errors import DataError, SpecError
from aerodet.pipelines.profiles import Profile
from aerodet.synth import CLASSES, SceneSettings, load_look

__all__ = ["check"]


def check(profile: Profile) -> None:
    """Check a profile's demands of the machine, and its sources; pixels are read by the stages, not here.

    Raises:
        MachineError: the profile asks for GPUs or a way to run training steps that this machine has not.
        DataError: a folder cannot be used as it is; the sentence says what to do.
        SpecError: scenes cannot be rendered as the profile has them.
    """
    _check_machine(profile)
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


def _check_machine(profile: Profile) -> None:
    wanted = profile.training
    if wanted.gpus > 1 or wanted.compile in ("graph", "inductor"):
        from aerodet.detectnet.device import pick_device, processes  # PyTorch takes seconds to import
        from aerodet.detectnet.step import how_to_run

        processes(wanted.gpus)
        how_to_run(wanted.compile, pick_device(), steps=1, pixels=1)


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
