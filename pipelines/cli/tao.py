"""``aerodet tao``: specs, command lines, mounts and weights for those who run NVIDIA's TAO containers by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from aerodet.tao import TaoFlow

__all__ = ["app"]

app = typer.Typer(help="NVIDIA's TAO containers: specs, commands, mounts, weights.", no_args_is_help=True)

ProfileName = Annotated[str | None, typer.Option("--profile", help="Profile whose numbers are taken; else TAO's own.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the profile; repeatable.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of every training.")]
Gpus = Annotated[int, typer.Option(min=1, help="GPUs of a training.")]
Root = Annotated[str, typer.Option(metavar="DIR", help="Folder in the containers that holds data, specs and results.")]


@app.command("export-specs")
def export_specs(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the specs.")],
    profile: ProfileName = None,
    setting: Settings = None,
    epochs: Epochs = 120,
    root: Root = "/workspace",
) -> None:
    """Write every spec of the flow, one file each, as TAO's parsers take them."""
    from aerodet.detectnet.spec import format_spec
    from aerodet.files import atomic_path
    from aerodet.tao import notes

    require_new(out)
    flow = _flow(profile, setting, epochs=epochs, gpus=1, root=root)
    with atomic_path(out) as folder:
        folder.mkdir()
        for name, spec in flow.specs().items():
            (folder / f"{name}.txt").write_text(format_spec(spec, for_tao=True), encoding="utf-8")
    typer.echo(f"{out}: {len(flow.specs())} specs")
    for note in notes(flow.training("qat")):
        typer.echo(f"note: {note}")


@app.command()
def commands(
    profile: ProfileName = None,
    setting: Settings = None,
    gpus: Gpus = 1,
    root: Root = "/workspace",
    *,
    inside: Annotated[
        bool, typer.Option("--inside", help="As typed inside the containers, with each one's image.")
    ] = False,
) -> None:
    """Print the flow as lines for TAO's launcher, in order."""
    import shlex

    if profile is not None:
        typer.echo(
            "note: TAO cannot search for a share of the parameters; -pth is the profile's threshold or 0.5", err=True
        )
    for command in _flow(profile, setting, epochs=120, gpus=gpus, root=root).commands():
        typer.echo(f"{command.image}  {shlex.join(command.words())}" if inside else command.launcher())


@app.command()
def mounts(
    mount: Annotated[
        list[str], typer.Argument(metavar="DIR:PLACE...", help="Folder here, and its place in the containers.")
    ],
    file: Annotated[Path, typer.Option(help="The launcher reads only the one in the home folder.")] = Path(
        "~/.tao_mounts.json"
    ),
) -> None:
    """Add folders to the launcher's ~/.tao_mounts.json; what it holds already stays."""
    from aerodet.tao import write_mounts

    pairs: dict[str, Path] = {}
    for entry in mount:
        folder, separator, place = entry.rpartition(":")
        if not separator or not folder:
            raise UserError(f"'{entry}' is no mount; write the folder and its place, such as ./data:/workspace/data")
        pairs[place] = Path(folder)
    typer.echo(f"{write_mounts(pairs, file)}: {', '.join(pairs)}")


@app.command()
def tfrecords(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A KITTI folder: images/ and labels/.")],
    prefix: Annotated[Path, typer.Argument(help="Path and beginning of the files' names.")],
    val_split: Annotated[float, typer.Option(help="Percent of the images in fold 0, to validate on; by name.")] = 0.0,
    shards: Annotated[int, typer.Option(help="Files a fold.")] = 10,
) -> None:
    """Write TFRecords as `dataset_convert` does, without its GPU."""
    from aerodet.data import read_kitti, write_tfrecords

    report = write_tfrecords(read_kitti(source), prefix, val_split=val_split, num_shards=shards)
    folds = ", ".join(f"fold {number}: {count}" for number, count in report.folds.items())
    typer.echo(f"{prefix}: {report.images} images ({folds}), {report.bytes:,} bytes in {len(report.files)} files")
    if report.regions_left_out:
        typer.echo(
            f"note: {report.regions_left_out} regions to ignore (DontCare) are not in the files: background for TAO"
        )
    if not val_split:
        typer.echo("note: all images are fold 0; a spec that trains on them must not have validation_fold: 0")


@app.command()
def status(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder of a TAO task (-r).")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the figures of a TAO task; exit status 2 when it failed or left no result."""
    import json

    from aerodet.tao import read_results, read_status

    deploy = (results / "results.json").is_file()
    figures = read_results(results) if deploy else dict(read_status(results).metrics)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        for name, value in figures.items():
            typer.echo(f"{name:32} {value:.6g}")


@app.command("import-weights")
def import_weights(
    model: Annotated[Path, typer.Argument(metavar="MODEL.hdf5", help="A checkpoint of TAO 5.")],
    spec: Annotated[Path, typer.Option(help="The experiment spec that trained it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the checkpoint.")],
) -> None:
    """Turn a TAO checkpoint into one of the torch backend."""
    require_new(out)
    from aerodet.detectnet.model import count_parameters
    from aerodet.tao.checkpoint import import_checkpoint

    network = import_checkpoint(model, spec, out)
    typer.echo(f"{out}: {count_parameters(network)['total']:,} parameters")


@app.command("export-weights")
def export_weights(
    checkpoint: Annotated[Path, typer.Argument(metavar="DIR", help="Checkpoint of the torch backend, without QAT.")],
    model: Annotated[Path, typer.Argument(metavar="MODEL.hdf5", help="A new file.")],
) -> None:
    """Turn a checkpoint of the torch backend into one that TAO loads as `pretrained_model_file`."""
    if model.suffix != ".hdf5":
        raise UserError(f"{model} must end in .hdf5; TAO tells the kind of a file by that")
    require_new(model)
    from aerodet.tao.checkpoint import export_checkpoint

    export_checkpoint(checkpoint, model)
    typer.echo(f"{model}: {model.stat().st_size:,} bytes; set load_graph: true beside it, or TAO starts the heads anew")


def _flow(profile: str | None, settings: list[str] | None, *, epochs: int, gpus: int, root: str) -> TaoFlow:
    from aerodet.pipelines._tao import flow_of
    from aerodet.pipelines.profiles import load_profile
    from aerodet.tao import TRAININGS, TaoArm, TaoFlow

    if not root.startswith("/"):
        raise UserError(f"--root {root} is no absolute path; it is a folder inside the containers")
    root = root.rstrip("/")
    if profile is not None:
        return flow_of(load_profile(profile, settings or []), epochs=epochs, gpus=gpus, root=root)
    if settings:
        raise UserError("--set changes a profile; name one with --profile")
    return TaoFlow(arms=dict.fromkeys(TRAININGS, TaoArm(epochs=epochs)), gpus=gpus, root=root)
