"""Foreground colours: dense against pymatting's multilevel estimate and blur fusion, where the truth is known.

    sh benchmarks/foreground_env.sh && .peers/matting/bin/python benchmarks/foreground.py
    .peers/matting/bin/python benchmarks/foreground.py --picture docs/pictures/decontamination.jpg

Eight scenes (benchmarks/_composites.py), once with their own alpha and once with one of a quarter of the resolution, as
from a network. Error of F over 0 < alpha < 1, weighted by alpha: MSE (of 0..1, times 1000) and mean absolute
difference in levels of 255; "halo": mean absolute difference after laying over any new background, in levels. Times:
processor time, single-threaded, sides in turn, median of the paired ratios; memory: growth of the peak of a process of
its own, largest temporaries and result included, inputs not.
"""
from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from _common import ROOT, paired, peak_memory, report, table
from _composites import Scene, scenes

sys.path.insert(0, str(ROOT))
SIZES = {1: (816, 1224), 6: (2000, 3000), 50: (5776, 8664)}


def original(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return image.astype(np.float32)


def ours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    from dense.tasks.foreground import estimate_foreground

    return estimate_foreground(image, alpha)


def multilevel(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    from pymatting import estimate_foreground_ml

    return estimate_foreground_ml(image / 255, alpha.astype(np.float64)) * 255


def blur_fusion(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Forte 2021, two passes, as the paper has it: boxes of 90 and 6 pixels."""
    image, a = image.astype(np.float32), alpha[..., None]
    foreground = background = image
    for side in (90, 6):
        share = cv2.blur(alpha, (side, side))[..., None]
        mean = cv2.blur(foreground * a, (side, side)) / (share + 1e-5)
        background = cv2.blur(background * (1 - a), (side, side)) / (1 - share + 1e-5)
        foreground = np.clip(mean + a * (image - a * mean - (1 - a) * background), 0, 255)
    return foreground


SIDES = {"original colours": original, "dense": ours, "pymatting ml": multilevel, "blur fusion x2": blur_fusion}


def coarse(alpha: np.ndarray) -> np.ndarray:
    """Alpha of a quarter of the resolution, enlarged."""
    height, width = alpha.shape
    small = cv2.resize(alpha, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def errors(scene: Scene, alpha: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    eight = cv2.convertScaleAbs(alpha, alpha=255)
    part = (eight > 0) & (eight < 255)
    difference = estimate[part].astype(np.float64) - scene.foreground[part]
    weight = alpha[part, None].astype(np.float64)
    total = 3 * weight.sum()
    return {"MSE": float((weight * difference**2).sum() / total / 255**2 * 1000),
            "difference": float((weight * abs(difference)).sum() / total),
            "halo": float(np.abs(weight * difference).mean())}


def processor_times(side: str, scene: Scene, runs: int) -> list[float]:
    out = []
    for _ in range(runs):
        begun = time.process_time()
        SIDES[side](scene.image, scene.alpha)
        out.append(time.process_time() - begun)
    return out


def _measure_memory(side: str, megapixels: int, queue) -> None:
    cv2.setNumThreads(1)
    small = scenes(102, 153)[1]
    SIDES[side](small.image, small.alpha)  # imports and compilation
    height, width = SIZES[megapixels]
    alpha = cv2.resize(small.alpha, (width, height))
    image = cv2.resize(small.image, (width, height))
    before = _peak()
    result = SIDES[side](image, alpha)
    queue.put((_peak() - before, result.nbytes))


def _peak() -> int:
    """Bytes; of this process alone, where the kernel says so: getrusage counts what its parent had before."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    except (OSError, StopIteration):
        return peak_memory()


def memory(side: str, megapixels: int) -> float:
    """MiB."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure_memory, args=(side, megapixels, queue))
    process.start()
    grown, _ = queue.get(timeout=600)
    process.join()
    return grown / 2**20


def end_to_end(runs: int, seed: int) -> None:
    """What the estimate costs from the picture to the file: network, PNG, over white; needs PyTorch."""
    from dense import Inferencer

    model, rows = Inferencer("isnet@cutouts", threads=1), []
    for megapixels in (1, 6):
        for scene in scenes(*SIZES[megapixels], seed)[1:4:2]:
            result = model(scene.image)
            times: dict[str, list[float]] = {}
            for _ in range(runs):
                for name, act in (("network", lambda: model(scene.image)),  # noqa: B023
                                  *((f"{way} {colours}", lambda w=way, c=colours: _act(result, w, c))  # noqa: B023
                                    for way in ("PNG", "white") for colours in ("original", "estimated"))):
                    begun = time.process_time()
                    act()
                    times.setdefault(name, []).append(time.process_time() - begun)
            sizes = [len(_act(result, "PNG", c)) / 2**20 for c in ("original", "estimated")]
            rows.append([megapixels, scene.name, f"{100 * result.to_dict()['alpha']['partial']:.0f} %",
                         *(f"{1000 * statistics.median(v):.0f}" for v in times.values()), *(f"{s:.2f}" for s in sizes)])
    head = ["megapixels", "scene", "half-transparent", *(f"{n}, ms" for n in times), "MiB original", "MiB estimated"]
    report("Cut-outs with original and estimated colours, isnet@cutouts", table(head, rows), {}, None)


def _act(result, way: str, colours: str):
    result = result.with_colours(colours)
    return result.encode(".png") if way == "PNG" else result.over("white")


def before_and_after(path: str) -> None:
    """A patch of fur and one of hair over white and black: picture, original colours, estimated ones, the truth."""
    from dense.io import write_image
    from dense.tasks.pictures import contact_sheet, label

    found = {s.name: s for s in scenes(*SIZES[1])}
    rows = []
    for name, (y, x) in {"fur": (350, 820), "hair": (330, 500), "umbrella, edge 5": (330, 620)}.items():
        scene = found[name]
        inner = slice(y, y + 130), slice(x, x + 130)
        a, parts = scene.alpha[inner][..., None], [(scene.image[inner], "picture")]
        for ground, word in ((0, "black"), (255, "white")):
            sides = (("original", scene.image), ("dense", ours(scene.image, scene.alpha)), ("truth", scene.foreground))
            parts += [(a * colours[inner] + (1 - a) * ground, f"{text}, {word}") for text, colours in sides]
        rows.append(np.hstack([label(cv2.resize(np.rint(p).astype(np.uint8), (195, 195),
                                                interpolation=cv2.INTER_NEAREST), text) for p, text in parts]))
    write_image(path, contact_sheet(rows), quality=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="of each side (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes; dense's constants were chosen on those of "
                        "0 (%(default)s)")
    parser.add_argument("--end-to-end", action="store_true", help="only what the estimate costs beside the network and "
                        "the file")
    parser.add_argument("--picture", metavar="FILE", help="only draw the picture before and after")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.end_to_end:
        return end_to_end(args.runs, args.seed)
    if args.picture:
        return before_and_after(args.picture)
    import numba

    numba.set_num_threads(1)
    known, values, texts = scenes(*SIZES[1], args.seed), {}, []
    for kind, change in (("exact alpha", lambda a: a), ("alpha of a quarter of the resolution", coarse)):
        found = {}
        for side in SIDES:
            found[side] = [errors(s, change(s.alpha), SIDES[side](s.image, change(s.alpha))) for s in known]
        values[kind] = found
        rows = [[side, *(f"{e['MSE']:.2f}" for e in each),
                 *(f"{statistics.mean(e[k] for e in each):.2f}" for k in ("MSE", "difference", "halo"))]
                for side, each in found.items()]
        texts.append(f"{kind}, MSE by scene, then means:\n"
                     + table(["", *(s.name for s in known), "MSE", "difference", "halo"], rows))
    rows = []
    for megapixels in (1, 6):
        large = scenes(*SIZES[megapixels], args.seed)
        picked = [large[i] for i in (1, 4, 6)]
        del large
        times: dict[str, list[float]] = {side: [] for side in SIDES if side != "original colours"}
        for _ in range(args.runs):
            for scene in picked:
                for side in times:
                    times[side] += processor_times(side, scene, 1)
        for side in times:
            pair = paired(times[side], times["dense"])
            rows.append([megapixels, side, f"{1000 * pair['ours']:.0f}", f"{pair['ratio']:.1f}",
                         f"{memory(side, megapixels):.0f}"])
    rows.append([50, "dense", "", "", f"{memory('dense', 50):.0f}"])
    values["times and memory"] = rows
    texts.append(table(["megapixels", "", "ms", "times dense's", "memory, MiB"], rows))
    report("Foreground colours", "\n\n".join(texts), values, args.json)


if __name__ == "__main__":
    main()
