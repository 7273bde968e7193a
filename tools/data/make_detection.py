#!/usr/bin/env python3
"""Make a detection data set (COCO layout) of objects with alpha over real pictures, some in front of others.

    python tools/data/make_detection.py                                       the bundled set, data/detection
    python tools/data/make_detection.py -o data/objects --objects photographs --train 6000 --val 400

Photographs of objects come from a Debian package under the GPL: so is what is made of them. Drawings are MIT.
Objects and backgrounds of the two splits are different ones. The same seed and library versions give the same pictures,
whatever the number of processes. Needs npm, pip, apt-get and dpkg-deb for the first run; the sources stay in --sources.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_sources as sources
import _detection_objects as objects
import cv2
from _detection_compose import render, scatter, see
from make_cutouts import MIT_TEXT

from dense.errors import DenseError
from dense.io import write_bytes, write_text
from dense.io.coco_file import coco_text
from dense.io.rle import encode_rle

ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 16 / 9, 3 / 4, 2 / 3)
EMPTY = 0.04  # share of pictures without an object

README = """# Objects

{train} training and {val} validation pictures of {classes} classes ({names}) for object detection, the longer side
{size} pixels. Layout of COCO: `train/*.jpg`, `val/*.jpg`, `annotations/instances_train.json` and `instances_val.json`.

- Each picture shows up to eight objects in different light, size and position, some in front of others, some cut off by
  the frame; a few show none. Boxes, areas and run-length masks are of the visible pixels; `visible` is their share of
  the object. Objects of which less than a quarter would be seen are left out of the picture.
- Objects: {kinds}. Backgrounds: crops of photographs and panoramas. No object and no background file is in both splits;
  every picture's entry has its background and seed, every annotation the name of its object.
- Licences and authors: `LICENSES.md`.

| class | training: objects (pictures) | validation: objects (pictures) |
|---|---:|---:|
{table}

Made by `python tools/data/make_detection.py --objects {objects} --seed {seed} --train {train} --val {val}`, which
fetches the sources by package name and gives the same pictures for the same seed and library versions.

## Limits

These are composites, not photographs of scenes: what is next to what has no meaning, light and perspective agree only
roughly, and there are few different objects of a class. Figures on it say how well a network learnt this, and nothing
about COCO or about photographs.
"""


@dataclass(frozen=True)
class Plan:
    """What a picture is made of; see the arguments."""

    root: Path
    out: Path
    kinds: tuple[str, ...]
    seed: int
    size: int


def make_picture(plan: Plan, split: str, index: int) -> dict:
    """Write a picture; its entry and annotations as in COCO, without ids."""
    own_seed = [plan.seed, objects.SPLITS.index(split), index]
    rng = np.random.default_rng([*own_seed, 7])
    aspect = float(rng.choice(ASPECTS))
    short = round(plan.size / max(aspect, 1 / aspect))
    size = (short, plan.size) if aspect >= 1 else (plan.size, short)
    source, member = sources.BACKGROUNDS[split][int(rng.integers(len(sources.BACKGROUNDS[split])))]
    seen = []
    if rng.random() >= EMPTY:
        while not seen:  # all of them may be hidden
            count = min(8, 1 + int(rng.geometric(0.33)))
            seen = see(scatter(rng, [_draw_object(plan, split, rng) for _ in range(count)], size), size)
    image, quality = render(rng, [s.placed for s in seen], _background(plan.root, source, member), size)
    name = f"{index + 1:06d}.jpg"
    ok, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise DenseError(f"{name}: could not be encoded")
    write_bytes(plan.out / split / name, jpeg.tobytes())
    notes = [{"category_id": s.placed.label + 1, "bbox": list(s.box), "area": int(np.count_nonzero(s.mask)),
              "iscrowd": 0, "segmentation": encode_rle(s.mask), "visible": round(s.share, 3), "object": s.placed.name}
             for s in seen]
    return {"image": {"file_name": name, "height": size[0], "width": size[1], "seed": own_seed,
                      "background": f"{source}: {Path(member).name}"}, "annotations": notes}


def _draw_object(plan: Plan, split: str, rng: np.random.Generator) -> tuple[int, str, np.ndarray, float]:
    kind = plan.kinds[int(rng.integers(len(plan.kinds)))]
    label = int(rng.integers(len(objects.CLASSES)))
    names = objects.names_of(kind, split)[objects.CLASSES[label]]
    name = names[int(rng.integers(len(names)))]
    return label, f"{kind}: {name}", _object(plan.root, plan.kinds, kind, name), objects.TURN[objects.CLASSES[label]]


@lru_cache(maxsize=1)
def _objects(root: Path, kinds: tuple[str, ...]) -> objects.Objects:
    return objects.Objects(root, kinds)


@lru_cache(maxsize=400)
def _object(root: Path, kinds: tuple[str, ...], kind: str, name: str) -> np.ndarray:
    return _objects(root, kinds)(kind, name)


@lru_cache(maxsize=40)
def _background(root: Path, source: str, member: str) -> np.ndarray:
    return sources.load_background(root, source, member)


def _work(argument: tuple[Plan, str, int]) -> dict:
    cv2.setNumThreads(1)
    return make_picture(*argument)


def _entries(plan: Plan, split: str, count: int, jobs: int) -> Iterator[dict]:
    arguments = [(plan, split, i) for i in range(count)]
    if jobs == 1:
        yield from map(_work, arguments)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_work, arguments, chunksize=8)


def make(plan: Plan, counts: dict[str, int], jobs: int = 1) -> dict[str, dict]:
    """Write the data set into the empty folder ``plan.out``; split -> what its JSON holds."""
    whole = {}
    for split, count in counts.items():
        (plan.out / split).mkdir(parents=True)
        values = {"info": {"description": "objects over photographs, made by dense's tools/data/make_detection.py",
                           "seed": plan.seed, "objects": list(plan.kinds)},
                  "licenses": [], "images": [], "annotations": [],
                  "categories": [{"id": i, "name": n} for i, n in enumerate(objects.CLASSES, 1)]}
        for number, entry in enumerate(_entries(plan, split, count, jobs), 1):
            values["images"].append({"id": number, **entry["image"]})
            for note in entry["annotations"]:
                values["annotations"].append({"id": len(values["annotations"]) + 1, "image_id": number, **note})
            if sys.stderr.isatty() or number % 500 == 0:
                print(f"{split}: {number}/{count}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
        (plan.out / "annotations").mkdir(exist_ok=True)
        write_text(plan.out / "annotations" / f"instances_{split}.json", coco_text(values))
        whole[split] = values
    write_text(plan.out / "README.md", _readme(plan, counts, whole))
    write_text(plan.out / "LICENSES.md", _licences(plan, whole))
    return whole


def _readme(plan: Plan, counts: dict[str, int], whole: dict[str, dict]) -> str:
    rows = []
    for label, name in enumerate(objects.CLASSES, 1):
        cells = []
        for split in counts:
            notes = [a for a in whole[split]["annotations"] if a["category_id"] == label]
            cells.append(f"{len(notes)} ({len({a['image_id'] for a in notes})})")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    words = {"photographs": "photographs, cut out", "drawings": "drawings (Fluent emoji), shaded and recoloured"}
    return README.format(
        **counts, classes=len(objects.CLASSES), names=", ".join(objects.CLASSES), size=plan.size, table="\n".join(rows),
        kinds="; ".join(words[k] for k in plan.kinds), objects=",".join(plan.kinds), seed=plan.seed)


def _licences(plan: Plan, whole: dict[str, dict]) -> str:
    used = Counter(i["background"] for v in whole.values() for i in v["images"])
    free = "photographs" not in plan.kinds
    notice = ["# Licences of the sources\n",
              "The pictures are derived works: composites of what is named here, cropped, scaled, turned,\n"
              "recoloured and partly covered. The text of CC-BY-4.0 is at creativecommons.org/licenses/by/4.0. " + (
                  "No source asks for share-alike.\n" if free else
                  "The\nphotographs of objects are under the GPL, so that these pictures may be handed on under "
                  "GPL-3.0\n(which GPL-2.0-or-later allows, and which goes with CC-BY-4.0 and Apache-2.0) only.\n")]
    for key, source in [*((k, objects.SOURCES[k]) for k in plan.kinds), *sources.SOURCES.items()]:
        files = sorted(b.split(": ")[1] for b in used if b.split(": ")[0] == key)
        if key in plan.kinds or files:
            notice.append(f"## {key}\n\n- From: {source.title}\n- Licence: {source.licence}\n- Copyright: "
                          f"{source.copyright}\n- Used as: {source.used}"
                          + (f"\n- Files: {', '.join(files)}" if files else "") + "\n")
    if "drawings" in plan.kinds:
        notice.append(MIT_TEXT)
    return "\n".join(notice)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.split(",")))
    if not set(kinds) <= set(objects.KINDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not photographs, drawings, or both with a comma between")
    return kinds


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, fetch, render into a fresh folder and swap it in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/detection"), help="folder to (re)write")
    parser.add_argument("--objects", type=_kinds, default=("drawings",), metavar="KIND[,KIND]",
                        help="photographs (GPL), drawings (MIT, the default), or both")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=40, help="number of training pictures (%(default)s)")
    parser.add_argument("--val", type=int, default=16, help="number of validation pictures (%(default)s)")
    parser.add_argument("--size", type=int, default=320, help="longer side in pixels (%(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                        else 1, help="processes (%(default)s)")
    args = parser.parse_args(argv)
    if args.seed < 0 or min(args.train, args.val, args.jobs) < 1 or not 64 <= args.size <= 2048:
        parser.error("--seed must be >= 0, --train, --val and --jobs >= 1, --size 64 to 2048")
    if args.out.exists() and any(args.out.iterdir()) and not _is_ours(args.out):
        raise SystemExit(f"{args.out} holds something else than this data set; choose another folder")
    fresh, root = args.out.with_name(args.out.name + ".part"), args.sources.resolve()
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        print("fetching sources ...", file=sys.stderr)
        drawn = ("fluent-emoji", "python") if "drawings" in args.objects else ()
        sources.fetch(root, (*drawn, "pmndrs-assets", "scikit-image", "lomiri", "opencv-doc"))
        if "photographs" in args.objects:
            objects.fetch_photographs(root)
        whole = make(Plan(root, fresh, args.objects, args.seed, args.size), {"train": args.train, "val": args.val},
                     args.jobs)
    except (DenseError, OSError) as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SystemExit(f"make_detection: {problem}") from problem
    shutil.rmtree(args.out, ignore_errors=True)
    fresh.rename(args.out)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    found = sum(len(v["annotations"]) for v in whole.values())
    print(f"{args.train} + {args.val} pictures, {found} objects, {total / 1e6:.2f} MB in {args.out}")


def _is_ours(folder: Path) -> bool:
    try:
        info = json.loads((folder / "annotations" / "instances_train.json").read_text(encoding="utf-8"))["info"]
    except (OSError, ValueError, KeyError):
        return False
    return "make_detection.py" in info.get("description", "")


if __name__ == "__main__":
    main()
