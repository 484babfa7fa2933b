"""How fast TFRecords are written, beside the writer of the ``tfrecord`` package.

::

    python tests/bench/bench_tfrecord.py                     512 images, on the disk of the temporary folder
    python tests/bench/bench_tfrecord.py --folder /some/disk --bytes 400000

Images and labels lie in memory, as each writer takes them: columns of coordinates here, a dictionary of features there;
both write the same records, in turn, A B B A; the ratio is the median over pairs. The goals: 300 MB/s with the
image files inside, and three times the package. DetectNet_v2's own records hold no pixels: there images a second count.
The seconds of the processor, beside those on the clock, are what other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from tfrecord import TFRecordWriter
from tfrecord.example_pb2 import Example

from aerodet.data import ImageRecord, kitti_label
from aerodet.data._records import write_records
from aerodet.data.tfrecord import _encode, _parse
from aerodet.deploy._cpu import cpu_name

LEAST_RATE, LEAST_RATIO = 300, 3  # MB/s, times


class InMemory:
    """Labelled pictures of random bytes."""

    classes = ("aircraft",)

    def __init__(self, count: int, size: int) -> None:
        generator = np.random.default_rng(0)
        self.files = [generator.bytes(size) for _ in range(count)]
        self.records = [self._record(generator, number) for number in range(count)]

    @staticmethod
    def _record(generator: np.random.Generator, number: int) -> ImageRecord:
        corner = generator.uniform(0, 400, (10, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(8, 100, (10, 2))], axis=1)
        return ImageRecord(number + 1, f"tile_{number:06d}.png", 512, 512, str(number), boxes, np.zeros(10, np.int64))

    def encoded(self, index: int) -> bytes:
        """Return the bytes of an image file."""
        return self.files[index]


class Records:
    """The frames of a set, as each of the writers takes them."""

    def __init__(self, images: InMemory, *, embed: bool) -> None:
        self.frames = [
            (f"images/{r.stem}", (r.width, r.height), *_parse(kitti_label(r, images.classes)[0]), image)
            for r, image in zip(images.records, images.files if embed else [None] * len(images.files), strict=True)
        ]
        self.features = [self._features(b"".join(_encode(*frame))) for frame in self.frames]

    @staticmethod
    def _features(data: bytes) -> dict[str, tuple[list[object], str]]:
        message = Example.FromString(data)
        kinds = {"bytes_list": "byte", "float_list": "float", "int64_list": "int"}
        found = {name: (f, f.WhichOneof("kind")) for name, f in message.features.feature.items()}
        return {name: (list(getattr(feature, kind).value), kinds[kind]) for name, (feature, kind) in found.items()}

    def write_ours(self, path: Path) -> None:
        """Write with aerodet."""
        write_records(path, (_encode(*frame) for frame in self.frames))

    def write_theirs(self, path: Path) -> None:
        """Write with the package."""
        writer = TFRecordWriter(str(path))
        for features in self.features:
            writer.write(features)
        writer.close()


def measure(records: Records, folder: Path, pairs: int) -> tuple[dict[str, tuple[float, float]], list[float], int]:
    """Time both writers in turns.

    Returns:
        The median seconds of each, on the clock and of the processor; the median ratio of the pairs, likewise; and the
        bytes of a file.
    """
    writers = {"ours": records.write_ours, "theirs": records.write_theirs}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in writers}
    size = 0
    for pair in range(pairs + 1):  # the first warms up
        for name in ("ours", "theirs") if pair % 2 else ("theirs", "ours"):
            path = folder / f"{name}-{pair}"
            start, busy = time.perf_counter(), time.process_time()
            writers[name](path)
            times[name].append((time.perf_counter() - start, time.process_time() - busy))
            size = path.stat().st_size
            path.unlink()
    medians = {name: (median(a for a, _ in some[1:]), median(b for _, b in some[1:])) for name, some in times.items()}
    pairs_of = list(zip(times["ours"][1:], times["theirs"][1:], strict=True))
    return medians, [median(theirs[kind] / ours[kind] for ours, theirs in pairs_of) for kind in (0, 1)], size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument(
        "--bytes", type=int, default=90_000, help="of an image file; a JPEG tile of 512 px has 90,000, a PNG 400,000"
    )
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to write to")
    options = parser.parse_args()
    images = InMemory(options.images, options.bytes)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cpu_name()}, {os.cpu_count()} cores, {options.folder}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for embed in (True, False):
            seconds, ratio, size = measure(Records(images, embed=embed), Path(folder), options.pairs)
            print(f"\n{'image files inside' if embed else 'labels only'}: {options.images} images, {size / 1e6:.1f} MB")
            print(f"  {'':8}{'clock':>15}{'':>20}{'processor':>15}")
            for name, values in seconds.items():
                rates = (f"{size / 1e6 / t:10.0f} MB/s{options.images / t:10.0f} images/s" for t in values)
                print(f"  {name:8}{''.join(rates)}")
            good = ratio[0] >= LEAST_RATIO and (not embed or size / 1e6 / seconds["ours"][0] >= LEAST_RATE)
            print(f"  ratio   {ratio[0]:10.2f}{'':24}{ratio[1]:10.2f}      {'reached' if good else 'NOT reached'}")


if __name__ == "__main__":
    main()
