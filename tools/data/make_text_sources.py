#!/usr/bin/env python3
"""Fetch fonts and photographs for texts to be drawn on: what configs/deeperaser_synthetic.py trains with.

    python tools/data/make_text_sources.py            into data/text: train and val, fonts and backgrounds

Needs npm, pip, apt-get and dpkg-deb; about 90 MB. Other folders of fonts and photographs may be used in the config.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _text_sources as text

from dense.errors import DenseError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/text"), help="folder to write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    args = parser.parse_args()
    try:
        text.fetch_fonts(args.out.resolve(), args.sources.resolve())
        text.write_backgrounds(args.out.resolve(), args.sources.resolve())
    except (DenseError, OSError) as problem:
        raise SystemExit(f"make_text_sources: {problem}") from problem
    for part in ("train", "val"):
        fonts = sum(p.name != "copyright" for p in (args.out / part / "fonts").rglob("*.*"))
        grounds = len(list((args.out / part / "backgrounds").iterdir()))
        print(f"{args.out / part}: {fonts} fonts, {grounds} photographs")


if __name__ == "__main__":
    main()
