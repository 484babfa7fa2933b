"""How fast RarePlanes-sized data are converted and evaluated, and what memory that takes.

::

    python tests/bench/bench_data.py                     everything
    python tests/bench/bench_data.py --only kitti ap

``kitti``: 45,000 images with 566,143 boxes from COCO to KITTI, images linked; ten seconds and 1 GB are allowed.
``ap``: 91,490 detections on 2,710 images; hotcoco through :func:`aerodet.metrics.coco_ap` beside pycocotools.
``memory``: the growth of the writers' memory with the number of images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from aerodet.data import ImageRecord, ImageSetWriter, encode_image, read_coco, write_coco, write_kitti, write_yolo
from aerodet.metrics import Detections, coco_ap, coco_results

IMAGES, BOXES = 45_000, 566_143
TEST_IMAGES, TEST_BOXES, DETECTIONS = 2_710, 6_812, 91_490
WIDTH, HEIGHT = 1920, 1080
COUNTS, FLAT = (5_000, 20_000, 45_000), 5.0  # images; MB by which a writer's memory may grow from few to many
KITTI_SECONDS, KITTI_MB, AP_RATIO = 10, 1000, 20  # asked


def generate(folder: Path, images: int, boxes: int) -> None:
    """Write a COCO folder with the fields of RarePlanes' synthetic files, and images that are one small picture."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    picture = encode_image(np.zeros((HEIGHT // 8, WIDTH // 8, 3), np.uint8))
    first = folder / "images" / "first.png"
    first.write_bytes(picture)
    names = [f"Atlanta_Airport_0_0_{n}_{n}.png" for n in range(images)]
    for number, name in enumerate(names):
        if number % 10_000 == 0 and number:  # a file has so many names and no more
            first = folder / "images" / name
            first.write_bytes(picture)
        else:
            os.link(first, folder / "images" / name)
    corner = (generator.random((boxes, 2)) * [WIDTH - 200, HEIGHT - 200]).round(2)
    size = (20 + generator.random((boxes, 2)) * 150).round(2)
    image = np.sort(generator.integers(0, images, boxes))
    with (folder / "instances_train_aircraft.json").open("w") as stream:
        entries = [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names)]
        stream.write(f'{{"images": {json.dumps(entries)}, "categories": [{{"id": 1, "name": "aircraft"}}], ')
        stream.write('"annotations": [')
        rows = zip(image.tolist(), corner.tolist(), size.tolist(), strict=True)
        for number, (at, (x, y), (w, h)) in enumerate(rows):
            polygon = [[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]]
            entry = {"id": number, "image_id": at, "category_id": 1, "bbox": [x, y, w, h], "area": w * h / 2}
            entry |= {"iscrowd": 0, "segmentation": polygon}
            stream.write(", " * bool(number) + json.dumps(entry))
        stream.write("]}")


def high_water() -> float:
    """Return the most memory since the peak was reset, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def bench_kitti(folder: Path) -> None:
    """Time COCO to KITTI in a process of its own, so that its peak memory is its own."""
    generate(folder / "coco", IMAGES, BOXES)
    size = (folder / "coco" / "instances_train_aircraft.json").stat().st_size
    print(f"kitti: {IMAGES:,} images, {BOXES:,} boxes, {size / 1e6:.0f} MB of JSON", flush=True)
    subprocess.run([sys.executable, __file__, "--convert", str(folder)], check=True)


def convert(folder: Path) -> None:
    """Convert and say how long it took."""
    before, began, busy = high_water(), time.perf_counter(), time.process_time()
    source = read_coco(folder / "coco", duplicates="keep")
    read = time.perf_counter() - began
    report = write_kitti(source, folder / "kitti", how="link")
    seconds = time.perf_counter() - began
    busy = time.process_time() - busy
    good = "reached" if seconds <= KITTI_SECONDS and high_water() < KITTI_MB else "NOT reached"
    print(
        f"kitti: {seconds:.2f} s (reading {read:.2f}), {busy:.2f} s of the processor; {KITTI_SECONDS} s asked, {good}"
    )
    print(f"kitti: {high_water():.0f} MB at most, {before:.0f} of them before; {report.boxes:,} boxes written")


def bench_memory(folder: Path) -> None:
    """Measure how much memory each writer takes for nine times the images."""
    print(f"memory: {'':5}{''.join(f'{count:8,}' for count in COUNTS)} images")
    for kind in ("kitti", "yolo", "coco", "set"):
        grown = [
            float(
                subprocess.run(
                    [sys.executable, __file__, "--write", kind, str(count), str(folder / f"{kind}{count}")],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for count in COUNTS
        ]
        flat = "flat" if grown[-1] - grown[0] < FLAT else "NOT flat"
        print(f"memory: {kind:5}{''.join(f'{size:8.1f}' for size in grown)} MB  {flat}", flush=True)


class Stream:
    """Images that are made when they are asked for, in front of a writer."""

    classes = ("aircraft",)

    def __init__(self, count: int) -> None:
        self.count = count
        self.picture = encode_image(np.zeros((16, 16, 3), np.uint8))
        self.records = self

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> ImageRecord:
        if number >= self.count:
            raise IndexError(number)
        boxes = np.tile(np.array([[1, 1, 9, 9]], np.float32), (12, 1))
        return ImageRecord(number + 1, f"{number:08d}.png", 16, 16, "g", boxes, np.zeros(12, np.int64))

    def encoded(self, index: int) -> bytes:
        """Return the picture."""
        return self.picture


def write(kind: str, count: int, folder: Path) -> None:
    """Write images with one writer and print the growth of memory since before, MB."""
    stream = Stream(count)
    warm = Stream(10)
    writers = {"kitti": write_kitti, "yolo": write_yolo, "coco": write_coco, "set": write_set}
    writers[kind](warm, folder.with_name(f"{folder.name}-warm"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = high_water()
    writers[kind](stream, folder)
    print(high_water() - before)


def write_set(images: Stream, folder: Path) -> None:
    """Write an image set."""
    with ImageSetWriter(folder, images.classes) as writer:
        for number in range(len(images)):
            writer.add(images[number], images.encoded(number))


def bench_ap() -> None:
    """Time COCO's AP against pycocotools, in turns."""
    truth, found = detections()
    times: dict[str, list[float]] = {"pycocotools": [], "aerodet": []}
    for number in range(3):
        began = time.perf_counter()
        own = coco_ap(truth, found, 1)
        times["aerodet"].append(time.perf_counter() - began)
        if number == 0 or times["pycocotools"][0] < 20:
            began = time.perf_counter()
            other = pycocotools_ap(truth, found)
            times["pycocotools"].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(times["pycocotools"], times["aerodet"], strict=False)]
    shown = {name: [round(value, 3) for value in values] for name, values in times.items()}
    print(f"ap: {sum(map(len, found)):,} detections, seconds {shown}")
    good = "reached" if median(ratios) >= AP_RATIO and abs(own.ap - other) < 1e-6 else "NOT reached"
    print(f"ap: {median(ratios):.1f} times as fast, {AP_RATIO} asked, {good}")
    print(f"ap: {own.ap:.8f} and {other:.8f}, apart by {abs(own.ap - other):.1e}")


def detections() -> tuple[list[tuple[np.ndarray, np.ndarray]], list[Detections]]:
    """Return truth and detections of the size of RarePlanes' test set."""
    generator = np.random.default_rng(1)
    per_image = np.bincount(generator.integers(0, TEST_IMAGES, TEST_BOXES), minlength=TEST_IMAGES)
    spread = np.bincount(generator.integers(0, TEST_IMAGES, DETECTIONS), minlength=TEST_IMAGES)
    truth, found = [], []
    for count, more in zip(per_image.tolist(), spread.tolist(), strict=True):
        corner, size = generator.random((count, 2)) * 400, 20 + generator.random((count, 2)) * 90
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        truth.append((boxes, np.zeros(count, np.int64)))
        near = np.repeat(boxes, max(1, more // max(1, 2 * count)), axis=0)[:more]
        near = near + generator.normal(0, 6, near.shape).astype(np.float32)
        far = generator.random((more - len(near), 2)) * 400
        other = np.concatenate([far, far + 20 + generator.random(far.shape) * 90], axis=1)
        every = np.concatenate([near, other]).astype(np.float32)
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
        found.append(Detections(every, generator.random(more), np.zeros(more, np.int64)))
    return truth, found


def pycocotools_ap(truth: list[tuple[np.ndarray, np.ndarray]], found: list[Detections]) -> float:
    """Return pycocotools' AP of the same."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
        for image, (boxes, _) in enumerate(truth)
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": image} for image in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "aircraft"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(coco_results(range(len(truth)), found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=["kitti", "ap", "memory"], default=["kitti", "ap", "memory"])
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(arguments.convert)
    elif arguments.write:
        write(arguments.write[0], int(arguments.write[1]), Path(arguments.write[2]))
    else:
        for part in arguments.only:
            with tempfile.TemporaryDirectory() as name:
                {"kitti": bench_kitti, "memory": bench_memory, "ap": lambda _: bench_ap()}[part](Path(name))


if __name__ == "__main__":
    main()
