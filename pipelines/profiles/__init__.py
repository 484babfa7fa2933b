"""Profiles: the choices of a whole run in one YAML file, checked before anything starts."""

from aerodet.pipelines.profiles._cluster import Cluster, Gpu, Retry, Secret, StagePods, Toleration, Volume
from aerodet.pipelines.profiles._model import (
    Arm,
    Augmentation,
    Benchmark,
    Data,
    Embedded,
    Export,
    Model,
    Profile,
    Prune,
    Publish,
    Training,
)
from aerodet.pipelines.profiles._read import load_profile, profile_names

__all__ = [
    "Arm",
    "Augmentation",
    "Benchmark",
    "Cluster",
    "Data",
    "Embedded",
    "Export",
    "Gpu",
    "Model",
    "Profile",
    "Prune",
    "Publish",
    "Retry",
    "Secret",
    "StagePods",
    "Toleration",
    "Training",
    "Volume",
    "load_profile",
    "profile_names",
]
