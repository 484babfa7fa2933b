"""``aerodet registry`` and ``aerodet verify``: published versions, which is in use, and whether they are intact."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from aerodet.pipelines.record import RunRecord
    from aerodet.registry import Registry, Version
    from aerodet.registry.verify import Verification

__all__ = ["app", "archive", "download", "key", "list_versions", "promote", "rollback", "show", "verify"]

app = typer.Typer(help="Published models: look at them, promote, roll back.", no_args_is_help=True)
Address = Annotated[
    str,
    typer.Option(
        "--registry",
        metavar="ADDRESS",
        help="A folder, sqlite:///FILE, https://MLFLOW, kubeflow+https://HOST?files=...",
    ),
]
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the registered model.")]
Which = Annotated[str, typer.Argument(metavar="VERSION", help="Number or alias: champion, challenger.")]
_DEFAULT = "runs/registry"
_TARGET = re.compile(r"(?:models:/)?(?P<name>[A-Za-z0-9][\w.-]*)(?:[/@](?P<version>[\w.-]+))?")


@app.command("list")
def list_versions(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model; all by default.")] = None,
    registry: Address = _DEFAULT,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the versions, which is the champion, and what they reach."""
    from rich.console import Console
    from rich.table import Table

    opened = _open(registry)
    found = [version for model in ([name] if name else opened.models()) for version in opened.versions(model)]
    if as_json:
        typer.echo(json.dumps([_facts(version) for version in found], indent=2))
        return
    table = Table(box=None, header_style="bold")
    for heading in ("model", "version", "stage", "published", "AP50, %", "ms", "run", "digest"):
        right = heading in ("version", "AP50, %", "ms")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for version in found:
        metrics = version.metrics
        table.add_row(
            version.name,
            str(version.version),
            version.stage,
            f"{version.created:%Y-%m-%d %H:%M}",
            f"{metrics['ap50']:.1f}" if "ap50" in metrics else "",
            f"{metrics['median_ms']:.2f}" if "median_ms" in metrics else "",
            version.tags.get("run_id", ""),
            version.digest[:12],
        )
    if found:
        Console(width=None if Console().is_terminal else 160).print(table)
    else:
        typer.echo(f"nothing is published in {registry}" + (f" as {name}" if name else ""))


@app.command()
def show(name: Name, version: Which = "challenger", registry: Address = _DEFAULT) -> None:
    """Print everything that is known of a version, as JSON; the newest by default."""
    typer.echo(json.dumps(_facts(_open(registry).get(name, _number(version))), indent=2))


@app.command()
def promote(name: Name, version: Which = "challenger", registry: Address = _DEFAULT) -> None:
    """Make a version the champion, whatever the gate said; the champion before it is archived."""
    made = _open(registry).promote(name, _number(version))
    typer.echo(f"version {made.version} of {name} is the champion")


@app.command()
def rollback(name: Name, registry: Address = _DEFAULT) -> None:
    """Archive the champion and make the one before it champion again."""
    made = _open(registry).rollback(name)
    typer.echo(f"version {made.version} of {name} is the champion again")


@app.command()
def archive(name: Name, version: Which, registry: Address = _DEFAULT) -> None:
    """Take a version out of use; no run promotes it any more."""
    made = _open(registry).archive(name, _number(version))
    typer.echo(f"version {made.version} of {name} is archived")


@app.command()
def download(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    version: Annotated[str, typer.Option(help="Number or alias.")] = "champion",
    registry: Address = _DEFAULT,
) -> None:
    """Copy the files of a version; the champion by default."""
    require_new(folder)
    opened = _open(registry)
    found = opened.get(name, _number(version))
    opened.download(found, folder)
    typer.echo(f"{folder}: version {found.version} of {name}, {len(found.files)} files; `aerodet verify {folder}`")


@app.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The private key; the public one goes beside it.")],
) -> None:
    """Make a key pair to sign versions with and to verify them."""
    from aerodet.registry.sign import SIGNING_KEY, VERIFY_KEY, make_key

    private, public = make_key(file)
    typer.echo(f"{private}: keep it secret, and name it by {SIGNING_KEY} where models are published")
    typer.echo(f"{public}: give it to those who take models, for {VERIFY_KEY} or --key")


def verify(
    target: Annotated[
        str,
        typer.Argument(metavar="VERSION|DIR", help="MODEL/3, MODEL@champion, or a run, artifact or version folder."),
    ],
    registry: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where the version is; the run's own, or runs/registry.")
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where the artifacts that it was made from are.")] = Path(
        "runs"
    ),
    public_key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Public key that must have signed it; else AERODET_VERIFY_KEY."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that nothing was changed: digests, signature, and every artifact upstream that is still there.

    Exit status 2 when something is not what it was; it is named.
    """
    from aerodet.registry.sign import VERIFY_KEY, key_from_environment

    if public_key is not None and not public_key.is_file():
        raise UserError(f"--key {public_key} is no file; give the public key of those who sign")
    checked = public_key or key_from_environment(VERIFY_KEY)
    folder = Path(target)
    result = _verify_folder(folder, registry, runs, checked) if folder.is_dir() else None
    if result is None:
        result = _verify_version(target, registry or _DEFAULT, [runs] if runs.is_dir() else [], checked)
    if as_json:
        typer.echo(json.dumps({"intact": not result.faults, **asdict(result)}, indent=2))
    else:
        for finding in result.findings:
            typer.echo(f"{finding.severity}: {finding.what}: {finding.sentence}")
        signature = f", signed by the owner of {result.signed_by}" if result.signed_by else ""
        count = len(result.faults)
        verdict = f"{count} fault{'s' if count > 1 else ''}" if count else f"nothing was changed{signature}"
        typer.echo(f"{target}: {result.files} files and {result.artifacts} artifacts checked, {verdict}")
    if result.faults:
        raise typer.Exit(2)


def _verify_folder(folder: Path, registry: str | None, runs: Path, checked: Path | None) -> Verification:
    from aerodet.files import PROVENANCE
    from aerodet.registry.verify import SBOM, verify_artifacts, verify_package, with_upstream

    roots = [runs] if runs.is_dir() else []
    if (folder / SBOM).is_file():
        return verify_package(folder, roots=roots, key=checked)
    if (folder / "run.json").is_file():
        return _verify_run(folder.resolve(), roots, registry, checked)
    if not (folder / PROVENANCE).is_file():
        raise UserError(
            f"{folder} is neither a run nor an artifact nor the folder of a version; there is nothing to check"
        )

    return verify_artifacts(with_upstream([folder], [folder.absolute().parent.parent, *roots]))


def _verify_run(folder: Path, roots: list[Path], registry: str | None, checked: Path | None) -> Verification:
    """Check all artifacts of a run, what was copied from them into its folder, and the version that it published."""
    from aerodet.files import PROVENANCE, read_json
    from aerodet.pipelines.record import RunRecord
    from aerodet.registry.verify import verify_artifacts, with_upstream

    record = RunRecord.read(folder)
    made = [path.parent for path in sorted((folder / "artifacts").rglob(PROVENANCE))]
    result = verify_artifacts(with_upstream(made, [folder, *roots]))
    if record.state != "SUCCEEDED":
        result.note(str(folder), "the run has not ended well, so that there may be more to come")
    _check_copies(result, folder, record)
    for published in sorted((folder / "artifacts").glob("*/*/version.json")):
        try:
            version = read_json(published)
            target = f"{version['name']}/{version['version']}" if version.get("published") else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            result.fault(str(published), f"tells of no version: {error}")
            continue
        if target is not None:
            address = registry or str(record.parameters["registry"])
            result.add(_verify_version(target, address, [folder], checked))
    return result


def _check_copies(result: Verification, folder: Path, record: RunRecord) -> None:
    """Check the results and the report in a run's folder by what KFP noted of the stage that made them."""
    from aerodet.files import digest_of, file_digest
    from aerodet.pipelines.record import RESULTS

    stage = record.stage("report")
    if stage is None or stage.state != "SUCCEEDED":
        return
    for name, output in RESULTS.items():
        made, copy = Path(record.place(stage.outputs.get(output, output), str(folder))), folder / name
        digest = _noted_digest(made)
        for file in (copy,) if output == "results" else (copy, made):  # the results have provenance, and were checked
            if not file.is_file() or not digest:
                result.note(str(file), "nothing tells what it was" if file.is_file() else "it is not there any more")
                continue
            result.files += 1
            found = file_digest(file)
            if digest not in (found, digest_of({name: found})):
                result.fault(str(file), "it was changed since the run made it")


def _noted_digest(output: Path) -> str:
    """Return the SHA-256 of a file or folder that a stage made, as KFP noted it; empty where it did not."""
    from aerodet.files import read_json

    try:
        (entry,) = read_json(output.parent / "executor_output.json")["artifacts"][output.name]["artifacts"]
        return str(entry["metadata"]["digest"]).removeprefix("sha256:")
    except (OSError, KeyError, TypeError, ValueError):
        return ""


def _verify_version(target: str, address: str, roots: list[Path], checked: Path | None) -> Verification:
    from aerodet.registry.verify import verify_version

    named = _TARGET.fullmatch(target)
    if named is None:
        raise UserError(f"{target} is no folder and no version; give a folder, MODEL/3 or MODEL@champion")
    opened = _open(address)
    version = opened.get(named["name"], _number(named["version"]) if named["version"] else None)
    return verify_version(opened, version, roots=roots, key=checked)


def _open(address: str) -> Registry:
    from aerodet.registry import open_registry

    return open_registry(address)


def _number(version: str) -> int | str:
    return int(version) if version.isdecimal() else version


def _facts(version: Version) -> dict[str, Any]:
    facts = {**asdict(version), "created": version.created.isoformat()}
    return {name: dict(value) if name == "tags" else value for name, value in facts.items()}
