"""What the real arm reaches on images of one's own, split by split, and how long its training takes.

::

    python tests/bench/bench_real.py --real airbus-train --profile gpu
    python tests/bench/bench_real.py --real airbus-train --profile gpu --splits 0,1,2,3 --set real.steps=1300 \
        --set training.compile=inductor

Each split holds other places apart. The seconds are those of the loop with what compiling and recording take, without
reading the images; validation is left out. One place may be much harder than another, so that AP is also told by place.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from arms import cut, trained

from aerodet.pipelines.profiles import load_profile


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="COCO folder")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--splits", default="0", help="seeds of the split")
    parser.add_argument("--seeds", default="0", help="seeds of the training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    profile = load_profile(options.profile, options.set)
    for split in map(int, options.splits.split(",")):
        with TemporaryDirectory() as folder:
            real = cut(profile, options.real, "train", split, Path(folder) / "train")
            test = cut(profile, options.real, "test", split, Path(folder) / "test")
            places = sorted({record.group for record in test.records})
            wanted = {"all": places, **{place: [place] for place in places}}
            for seed in map(int, options.seeds.split(",")):
                score = trained(profile, real, test, wanted, seed)
                told = ", ".join(f"{name} {ap50:.1f} ({ap75:.1f})" for name, (ap50, ap75) in score.ap.items())
                print(
                    f"split {split} seed {seed}: {len(real)} and {len(test)} tiles, {score.steps} steps, "
                    f"{score.seconds:.1f} s; AP50 (AP75) {told}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
