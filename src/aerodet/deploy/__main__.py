"""Build an engine from an ONNX file: the command that ``engine.json`` names.

python -m aerodet.deploy MODEL.onnx MODEL.engine [--compute-capability 8.9] [--batch 1,8,16]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from aerodet.deploy.engine import build_engine
from aerodet.errors import AerodetError


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m aerodet.deploy", description="Build a TensorRT engine.")
    parser.add_argument("onnx", type=Path, help="model.onnx or model.int8.onnx")
    parser.add_argument("engine", type=Path, help="the file to write; engine.json appears beside it")
    parser.add_argument("--compute-capability", help="of the GPU that shall run it, such as 8.9 (default: this one's)")
    parser.add_argument("--batch", default="1,8,16", help="smallest, best and largest batch (default: 1,8,16)")
    options = parser.parse_args()
    try:
        smallest, best, largest = (int(n) for n in options.batch.split(","))
    except ValueError:
        parser.error("--batch takes three whole numbers, such as 1,8,16")
    try:
        info = build_engine(
            options.onnx,
            options.engine,
            compute_capability=options.compute_capability,
            batch=(smallest, best, largest),
        )
    except AerodetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(info), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
