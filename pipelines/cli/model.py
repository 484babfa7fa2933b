"""``aerodet model``: how large a network is."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["Arch", "model"]


class Arch(StrEnum):
    """The backbones."""

    resnet10 = "resnet10"
    resnet18 = "resnet18"
    resnet34 = "resnet34"


def model(
    arch: Annotated[Arch, typer.Option(help="Backbone.")] = Arch.resnet18,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 1,
    width: Annotated[float, typer.Option(min=0.05, max=4.0, help="Multiplies the channels of the backbone.")] = 1.0,
    *,
    all_projections: Annotated[
        bool, typer.Option("--all-projections", help="Put a projection on every shortcut.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the parameters of a DetectNet_v2 as Keras counts them."""
    from aerodet.detectnet.model import DetectNet, count_parameters

    layers = int(arch.removeprefix("resnet"))
    network = DetectNet(layers=layers, num_classes=classes, width=width, all_projections=all_projections)
    counts = count_parameters(network)
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        for name, count in counts.items():
            typer.echo(f"{name.replace('_', '-'):14} {count:>12,}")
