"""How long the provenance of many artifacts takes to load, and the walk over all of it.

    python tests/bench/bench_lineage.py [ARTIFACTS]

Prints the median of five loads from a warm page cache, and of five walks.
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from aerodet.lineage import Catalog, InputRef, walk, write_provenance

FILES, INPUTS = 6, 4  # of each artifact, as an export has


def main(count):
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write(root, count)
        loads, walks = [], []
        for _ in range(5):
            began = time.perf_counter()
            catalog = Catalog.load(root / "many")
            loaded = time.perf_counter()
            graph = walk(catalog, [f"{count:064x}"], downstream=True)
            loads.append(loaded - began)
            walks.append(time.perf_counter() - loaded)
        assert len(catalog) == count
        assert len(graph.nodes) >= count
        print(f"{count} artifacts: load {statistics.median(loads):.2f} s, walk {statistics.median(walks):.2f} s")


def write(root, count):
    """Write a chain of artifacts: each is made from the one before it and from three that nobody has."""
    model, now = root / "model", datetime.now(UTC)
    model.mkdir()
    for index in range(FILES):
        (model / f"file-{index}.bin").write_text(str(index))
    inputs = {f"input{index}": InputRef(f"{index:064x}", "s3://bucket/somewhere/else") for index in range(INPUTS)}
    made = write_provenance(
        model, name="model", inputs=inputs, stage="train", parameters={"spec": "x" * 2_500}, started=now, finished=now
    )
    text = (model / "provenance.json").read_text()
    for number in range(count):
        folder = root / "many" / f"run-{number // 25}" / f"stage-{number % 25}" / "model"
        folder.mkdir(parents=True)
        chained = text.replace(made.digest, f"{number + 1:064x}").replace(f"{0:064x}", f"{number:064x}")
        (folder / "provenance.json").write_text(chained)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
