#!/usr/bin/env python3
"""Fetch eight photographs with text on them: what docs/pictures/erasing.jpg was made of. None was trained on.

    python tools/data/make_text_photographs.py        into data/text/photographs
    python benchmarks/erasing.py --photographs data/text/photographs --picture docs/pictures/erasing.jpg

Six street scenes from Debian's package opencv-doc (Apache-2.0 AND BSD-3-Clause by its copyright file), handwriting and
a portrait from scikit-image (public domain; NASA). Needs pip, apt-get and dpkg-deb; about 110 MB on the way.
"""
import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_sources as sources

from dense.errors import DenseError

SCENES = "usr/share/doc/opencv-doc/examples/text/scenetext{:02d}.jpg"
OTHERS = ("skimage/data/text.png", "skimage/data/astronaut.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/text/photographs"), help="folder to write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    args = parser.parse_args()
    try:
        sources.fetch(args.sources.resolve(), ("scikit-image",))
        args.out.mkdir(parents=True, exist_ok=True)
        for name in OTHERS:
            shutil.copy(args.sources / "scikit-image" / name, args.out)
        with tempfile.TemporaryDirectory() as work:
            sources._run(["apt-get", "download", "-q", "opencv-doc"], Path(work))
            sources._run(["dpkg-deb", "-x", sources._one(Path(work), "*.deb").name, "."], Path(work))
            for index in range(1, 7):
                shutil.copy(Path(work) / SCENES.format(index), args.out)
    except (DenseError, OSError) as problem:
        raise SystemExit(f"make_text_photographs: {problem}") from problem
    print(f"{args.out}: {len(list(args.out.iterdir()))} photographs")


if __name__ == "__main__":
    main()
