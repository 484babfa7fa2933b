"""A profile's numbers as TAO's containers take them."""

from __future__ import annotations

from dataclasses import replace

from aerodet.detectnet.prune import PruneOptions
from aerodet.detectnet.spec import Inference
from aerodet.pipelines._specs import shared_options
from aerodet.pipelines.profiles import Profile
from aerodet.tao import TRAININGS, TaoArm, TaoFlow, build_inference

__all__ = ["flow_of", "inference_spec"]

_THRESHOLD = 0.5  # where the profile states a share of the parameters, which TAO's prune cannot search for


def flow_of(profile: Profile, *, epochs: int, gpus: int, root: str) -> TaoFlow:
    """Return the flow of a profile.

    Args:
        profile: the choices; its optimiser steps are not looked at.
        epochs: of every training; how many steps they make hangs on data that only the containers see.
        gpus: of a training.
        root: folder in the containers.

    Raises:
        SpecError: the profile asks for what TAO does not have.
    """
    arms = dict(
        zip(TRAININGS, (profile.real, profile.synthetic, profile.finetune, profile.retrain, profile.qat), strict=True)
    )
    prune = profile.prune
    return TaoFlow(
        options=replace(shared_options(profile), image_extension=profile.data.tile_format),
        arms={name: TaoArm(epochs, arm.max_learning_rate, mix=arm.synthetic_share > 0) for name, arm in arms.items()},
        prune=PruneOptions(
            threshold=_THRESHOLD if prune.threshold is None else prune.threshold,
            normalizer=prune.normalizer,
            criterion=prune.criterion,
            granularity=prune.granularity,
            min_filters=prune.min_filters,
        ),
        gpus=gpus,
        root=root,
    )


def inference_spec(profile: Profile) -> Inference:
    """Return the spec of TAO Deploy's inference with an engine of the profile's network."""
    return build_inference(shared_options(profile), engine="model.engine")
