"""What an eraser makes of held-out scenes, against OpenCV's inpainting (Telea; Navier-Stokes): quality, not speed.

    python benchmarks/erasing.py deeperaser@text --count 128
    python benchmarks/erasing.py --size 512 512 --count 24 --modes windows tiles whole    what the windows change
    python benchmarks/erasing.py --photographs data/text/photographs --picture docs/pictures/erasing.jpg

Scenes of the generator with fonts and photographs that were not trained on (tools/data/make_text_sources.py). All texts
are masked, in three forms; each method is given the same widened mask, its result is pasted the same way. Figures are
means over the scenes; 'in' is over the masked pixels. The intervals are of the differences, scene by scene (bootstrap).
"""
from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from _common import report, table

from dense import Inferencer
from dense.datasets.erase import SyntheticText
from dense.datasets.transforms import CustomMask
from dense.evaluation.erase import evaluate_erased
from dense.io import Picture, write_image
from dense.tasks import EraseTask

FORMS = {"around the lines": {"polygon": 1.0}, "upright boxes": {"box": 1.0}, "strokes": {"strokes": 1.0}}
SHOWN = ("PSNR_in", "SSIM_in", "left", "PSNR", "MSSIM", "AGE")
RADIUS = 3  # of OpenCV's inpainting


def inpaint(task: EraseTask, image: np.ndarray, mask: np.ndarray, method: int) -> np.ndarray:
    """OpenCV's result in the widened mask, pasted as the task does."""
    region = task.region(mask)
    filled = cv2.inpaint(np.ascontiguousarray(image), region, RADIUS, method)
    return task.paste(image, region, filled.astype(np.float32) / 255)


def draw_photographs(model: Inferencer, folder: Path, target: Path, width: int = 990) -> None:
    """A picture: of each photograph in which text is found, what is masked and its surroundings: as given, erased by
    the network, filled in by Telea's inpainting."""
    rows = []
    for result in model(folder, mask="auto"):
        region = model.task.region(result.mask)
        if not region.any():
            continue
        y, x = np.nonzero(region)
        part = slice(max(0, y.min() - 16), y.max() + 17), slice(max(0, x.min() - 16), x.max() + 17)
        pictures = result.original, result.image, inpaint(model.task, result.original, result.mask, cv2.INPAINT_TELEA)
        row = np.hstack([p[part] for p in pictures])
        size = width, max(1, round(row.shape[0] * width / row.shape[1]))
        rows.append(cv2.resize(row, size, interpolation=cv2.INTER_AREA if row.shape[1] > width else cv2.INTER_CUBIC))
    write_image(target, np.vstack(rows))
    print(f"written: {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="deeperaser@text", help="name, with --weights, or a bundle")
    parser.add_argument("-w", "--weights")
    parser.add_argument("--root", default="data/text")
    parser.add_argument("--part", default="val")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256))
    parser.add_argument("--modes", nargs="+", default=["windows"], help="of the task; the first is compared")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes; validation in training uses 0")
    parser.add_argument("--photographs", type=Path, help="draw those of a folder instead, into --picture")
    parser.add_argument("--picture", type=Path, default=Path("erasing.jpg"))
    parser.add_argument("--json")
    args = parser.parse_args()
    models = {"network" if i == 0 else f"network, {mode}": Inferencer(args.model, args.weights, threads=1, mode=mode)
              for i, mode in enumerate(args.modes)}
    model = models["network"]
    if args.photographs:
        draw_photographs(model, args.photographs, args.picture)
        return
    scenes = SyntheticText(args.root, args.part, length=args.count, seed=args.seed, settings={"size": args.size})
    methods = {
        **{name: lambda image, mask, m=m: m(Picture(image, "scene", mask=mask)).image for name, m in models.items()},
        "Telea": lambda image, mask: inpaint(model.task, image, mask, cv2.INPAINT_TELEA),
        "Navier-Stokes": lambda image, mask: inpaint(model.task, image, mask, cv2.INPAINT_NS),
        "nothing": lambda image, mask: image}
    rows, seconds = {}, dict.fromkeys(methods, 0.0)
    for index in range(args.count):
        content = scenes.content(index, np.random.default_rng([args.seed, 0, index]))
        for form, shares in FORMS.items():
            rng = np.random.default_rng([args.seed, 1, index])
            results = CustomMask(1.0, shares, loose=(2, 2))(content | {"rng": rng})
            if not results["mask"].any():
                continue
            image, truth = (np.ascontiguousarray(results[k]) for k in ("image", "truth"))
            region = model.task.region(results["mask"])
            for name, erase in methods.items():
                begun = time.process_time()
                erased = erase(image, results["mask"])
                seconds[name] += time.process_time() - begun
                row = evaluate_erased(erased, truth, region, image, results["erased"])
                rows.setdefault((form, name), []).append(row)
    lines, values = [], {}
    for (form, name), found in rows.items():
        means = {m: float(np.nanmean([r[m] for r in found])) for m in SHOWN}
        values[f"{form}: {name}"] = means
        lines.append((form, name, *(f"{means[m]:.{2 if 'PSNR' in m or m == 'AGE' else 3}f}" for m in SHOWN)))
    text = table(("mask", "method", *SHOWN), lines) + "\n"
    rng = np.random.default_rng(0)
    for form in FORMS:
        for other in (*list(models)[1:], "Telea", "Navier-Stokes"):
            for measure in ("PSNR_in", "SSIM_in"):
                pairs = zip(rows[form, "network"], rows[form, other], strict=True)
                gains = np.array([a[measure] - b[measure] for a, b in pairs])
                draws = np.nanmean(gains[rng.integers(0, len(gains), (2000, len(gains)))], axis=1)
                low, high = np.percentile(draws, (2.5, 97.5))
                text += (f"\n{form}, {measure}, network minus {other}: {np.nanmean(gains):+.3f} ({low:+.3f} to "
                         f"{high:+.3f})")
                values[f"{form}: {measure} minus {other}"] = [float(np.nanmean(gains)), float(low), float(high)]
    count = args.count * len(FORMS)
    text += "\n\nprocessor ms a scene: " + ", ".join(f"{k} {1000 * v / count:.0f}" for k, v in seconds.items())
    report(f"Erasing text: {model.describe()}", text, {"figures": values, "count": args.count}, args.json)


if __name__ == "__main__":
    main()
