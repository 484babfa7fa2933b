"""``aerodet data mirror``: copies of buckets that survive bad networks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from aerodet.errors import DataError, UserError

__all__ = ["mirror", "verify"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def mirror(
    source: Annotated[str, typer.Argument(metavar="S3_URI", help="Such as s3://rareplanes-public/real.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A folder, or s3://bucket/prefix.")],
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Keys wanted, such as 'train/*'; repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Keys left out; repeatable.")] = None,
    sample: Annotated[int | None, typer.Option(metavar="N", help="Only N images, with what belongs to them.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=512, help="Transfers at a time.")] = 16,
    limit_rate: Annotated[str | None, typer.Option(metavar="RATE", help="Bytes a second at most, such as 2M.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a server that is not AWS; AWS_ENDPOINT_URL by default.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Of the bucket; AWS_REGION by default.")] = None,
    *,
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack archives as they come.")] = False,
    anonymous: Annotated[
        bool | None,
        typer.Option("--anonymous/--signed", help="Sign no request, or every one; signed where there are credentials."),
    ] = None,
    trust_tags: Annotated[
        bool, typer.Option(help="Entity tags are digests; not so where a bucket encrypts with its own keys.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Copy a bucket; the same call goes on where the last one stopped and fetches nothing twice.

    Annotations come first. Every file is held against the server's digest and named in DEST/.mirror/manifest.json.
    """
    from aerodet.storage.mirror import Access, Choice, MirrorOptions
    from aerodet.storage.mirror import mirror as copy

    options = MirrorOptions(
        choice=Choice(tuple(include or ()), tuple(exclude or ()), sample, seed),
        source=Access(endpoint, region, anonymous),
        target=Access(endpoint, region),
        jobs=jobs,
        limit=_rate(limit_rate),
        unpack=unpack,
        trust_tags=trust_tags,
    )
    report = copy(source, destination, options)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
        return
    came = f"{report.fetched:,} of {report.objects:,} objects fetched ({report.fetched_bytes / 1e6:,.1f} MB)"
    typer.echo(f"{destination}: {came}, {report.present:,} were there; {report.manifest}")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A mirror.")],
) -> None:
    """Read a mirror's files again and hold them against its manifest; exit status 2 when one differs."""
    from aerodet.storage.mirror import verify as check

    wrong = check(folder)
    for sentence in wrong:
        typer.echo(f"error: {sentence}", err=True)
    if wrong:
        raise DataError(
            f"{len(wrong)} files of {folder} differ; remove them, then `aerodet data mirror` fetches them again"
        )
    typer.echo(f"{folder}: every file is as it was fetched")


def _rate(text: str | None) -> float | None:
    """Return bytes a second for ``2M``, ``500k`` or ``250000``."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)(?:b(?:/s)?)?", text.strip(), re.IGNORECASE)
    if not match or not float(match[1]):
        raise UserError(f"--limit-rate {text} is no rate; give bytes a second, such as 2M or 500k")
    return float(match[1]) * _UNITS[match[2].lower()]
