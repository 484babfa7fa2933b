"""Profiles: the choices of a whole run in one YAML file, checked before anything starts."""

from aerodet.pipelines.profiles._cluster import Cluster, Gpu, Retry, Secret, StagePods, Toleration, Volume
from aerodet.pipelines.profiles._model import (
    Arm,
    Augmentation,
    Benchmark,
    Compress,
    Data,
    Embedded,
    Export,
    Model,
    Profile,
    Prune,
    Publish,
    Tao,
    Training,
)
from aerodet.pipelines.profiles._read import load_profile, profile_names

__all__ = [
    "Arm",
    "Augmentation",
    "Benchmark",
    "Cluster",
    "Compress",
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
    "Tao",
    "Toleration",
    "Training",
    "Volume",
    "load_profile",
    "profile_names",
]
