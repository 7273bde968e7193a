#!/usr/bin/env python3
"""Render large pictures of thin objects (DIS5K layout) to measure tiled cut-outs on; not for training.

Objects: the tube-and-panel ones of the bundled set's validation part, and three that no set has: harp (strings), tuft
(hair-like strokes), trellis (a lattice). Backgrounds: those of the validation part that are large enough, and two that
no set has. So no object and no background is in `data/cutouts/DIS-TR`. The same seed and library versions give the same
pictures. Needs pip, apt-get and dpkg-deb for the first run; the sources stay in --sources.

    python tools/data/make_thin.py -o work_dirs/thin
    python benchmarks/tiles.py work_dirs/thin
"""
import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_solids as solids
import _cutout_sources as sources
import cv2
from _cutout_compose import compose, trim

from dense.errors import DatasetError, DenseError

KINDS = [(split, name) for split in ("val", "thin") for name in solids.BUILDERS[split]]
ASPECTS = (1.0, 4 / 3, 3 / 2, 3 / 4, 2 / 3)


def make(out: Path, root: Path, seed: int, count: int, long: int) -> None:
    """Write `count` pictures, whose long side has `long` pixels, into the empty folder `out`."""
    (out / "im").mkdir(parents=True)
    (out / "gt").mkdir()
    grounds: list[int] = []
    order = np.random.default_rng([seed, 2000])
    for i in range(count):
        split, kind = KINDS[i % len(KINDS)]
        if not grounds:
            grounds = order.permutation(len(sources.LARGE_BACKGROUNDS)).tolist()
        background = sources.load_background(root, *sources.LARGE_BACKGROUNDS[grounds.pop()], longest=1 << 16)
        # rendered at twice the size, so that it is shrunk as those of the bundled set are
        thing = trim(solids.make(split, kind, np.random.default_rng([seed, 2, i]), 2 * long))
        for attempt in range(25):
            pick = np.random.default_rng([seed, 2, i, attempt])
            aspect = float(pick.choice(ASPECTS))
            short = round(long / max(aspect, 1 / aspect) / 8) * 8
            size = (short, long) if aspect >= 1 else (long, short)
            result = compose(pick, [thing], background, size, hard=i % 4 == 3)
            if result.contrast > 0.14 and float((result.mask > 127).mean()) >= 0.005 and result.cut_off < 0.12:
                break
        else:
            raise DatasetError(f"picture {i} ({kind}): no usable composite in 25 tries; change --seed")
        name = f"{i + 1:04d}_{kind.replace('_', '-')}"
        cv2.imwrite(str(out / "im" / f"{name}.jpg"), result.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(out / "gt" / f"{name}.png"), result.mask)
        print(f"{i + 1}/{count} {name}", file=sys.stderr, flush=True)
    about = {"seed": seed, "count": count, "long side": long, "opencv": cv2.__version__, "numpy": np.__version__}
    (out / "manifest.json").write_text(json.dumps(about) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("work_dirs/thin"), help="folder to (re)write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=40, help="number of pictures")
    parser.add_argument("--long", type=int, default=1536, help="long side in pixels")
    args = parser.parse_args()
    if args.seed < 0 or args.count < 1 or args.long < 128:
        parser.error("--seed must be >= 0, --count >= 1, --long >= 128")
    if args.out.exists() and any(args.out.iterdir()) and not (args.out / "manifest.json").exists():
        raise SystemExit(f"{args.out} holds something else than these pictures; choose another folder")
    fresh = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        sources.fetch(args.sources.resolve(), ("scikit-image", "lomiri", "opencv-doc"))
        make(fresh, args.sources.resolve(), args.seed, args.count, args.long)
    except (DenseError, OSError) as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SystemExit(f"make_thin: {problem}") from problem
    shutil.rmtree(args.out, ignore_errors=True)
    fresh.rename(args.out)


if __name__ == "__main__":
    main()
