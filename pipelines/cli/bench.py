"""``aerodet bench``: what a training step and a detection cost on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

if TYPE_CHECKING:
    from aerodet.detectnet.step import Compile

__all__ = ["app"]

app = typer.Typer(help="Time training and detection on this machine.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def train(
    arch: Annotated[Literal["resnet10", "resnet18", "resnet34"], typer.Option()] = "resnet18",
    width: Annotated[float, typer.Option(min=0.01, max=4, help="Multiplies the backbone's channels.")] = 1.0,
    size: Annotated[int, typer.Option(min=64, help="Side of the pictures in pixels.")] = 512,
    batch: Annotated[int, typer.Option(min=1, help="Pictures of a step.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of each kind.")] = 100,
    device: Annotated[Literal["", "cpu", "cuda"], typer.Option(help="The GPU when there is one by default.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Image set to train on, as `data convert --to tiles` makes; noise with rectangles by default.",
        ),
    ] = None,
    compile: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            metavar="MODE",
            help="off, graph or inductor, repeatable; by default off on a CPU, and all that it can on a GPU.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare a training step with plain PyTorch, and training with the bare step.

    plain: the step as it is written, pictures and targets ready.

    bare: the same step as training runs it.

    whole: training itself, with data, augmentation and targets.

    start: the first steps, with what they record or compile.

    On a CPU take a network for one: --width 0.25 --size 256 --batch 16 --steps 20.
    """
    from aerodet.detectnet.profile import ProfileOptions, profile_table, profile_training

    modes = cast("tuple[Compile, ...]", tuple(compile or ()))
    options = ProfileOptions(arch, width, size, batch, steps, modes, device, data)
    _show(profile_training(options), profile_table, as_json=as_json)


@app.command()
def infer(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Runs, exports, graphs, checkpoints.")],
    batch: Annotated[int, typer.Option(min=1, help="Pictures a call for throughput; latency is of one.")] = 16,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime and PyTorch.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls of each.")] = 20,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Image set, as `data convert --to tiles` makes; rendered scenes by default."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare the latency and throughput of detectors: reading, network and clustering, apart and together.

    Ratios are the first detector's time over each one's.
    """
    from aerodet.data import ImageSet
    from aerodet.deploy.speed import speed_of_detectors, speed_table

    source = None if data is None else ImageSet(data)
    result = speed_of_detectors(models, batch=batch, threads=threads, rounds=rounds, data=source)
    _show(result, speed_table, as_json=as_json)


def _show(result: dict[str, Any], table: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(result, indent=2) if as_json else table(result))
