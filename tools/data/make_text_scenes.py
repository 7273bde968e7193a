#!/usr/bin/env python3
"""Write scenes of the generator as files, in the layout of SCUT-EnsText: to look at, to measure, to verify with.

    python tools/data/make_text_scenes.py -o data/erase/val --part val --count 16
    python tools/data/make_text_scenes.py -o /tmp/look --part train --count 32 --sheet

Fonts and photographs are those of tools/data/make_text_sources.py. The same seed gives the same scenes.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np

from dense.datasets.erase import SyntheticText
from dense.errors import DenseError
from dense.io import write_bytes, write_image, write_text
from dense.io.atomic import check_folder
from dense.tasks.pictures import contact_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--root", type=Path, default=Path("data/text"), help="fonts and photographs")
    parser.add_argument("--part", default="val", help="train or val")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320), metavar=("H", "W"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", action="store_true", help="a contact sheet as well")
    args = parser.parse_args()
    try:
        dataset = SyntheticText(args.root, args.part, length=args.count, seed=args.seed, settings={"size": args.size})
        check_folder(args.out)
        rows = []
        for index in range(args.count):
            scene = dataset.content(index, np.random.default_rng([args.seed, 0, index]))
            name = scene["name"]
            for kind in ("image", "clean"):
                folder = {"image": "all_images", "clean": "all_labels"}[kind]
                done, data = cv2.imencode(".jpg", scene[kind][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
                write_bytes(args.out / folder / f"{name}.jpg", data.tobytes() if done else b"")
            lines = (",".join(map(str, p.ravel().tolist())) for p in scene["polygons"])
            write_text(args.out / "all_gts" / f"{name}.txt", "".join(f"{line}\n" for line in lines))
            rows.append(np.hstack([scene["image"], scene["clean"]]))
        if args.sheet:
            write_image(args.out / "sheet.png", contact_sheet(rows))
    except DenseError as problem:
        raise SystemExit(f"make_text_scenes: {problem}") from problem
    print(f"{args.count} scenes in {args.out}")


if __name__ == "__main__":
    main()
