"""Store what mmcv's compiled RoIAlign and NMS give, as the reference for dense/compat/mmcv_ext.py.

Writes tests/data/mmcv_ops.npz. Needs an environment of its own, because it needs the compiled operators
and the tests need an mmcv without them (about ten minutes on one core; a C++ compiler must be there):

    python3.11 -m venv .peers/mmcv-ops/venv
    .peers/mmcv-ops/venv/bin/pip install torch==2.13.0 numpy==2.2.6 onedl-mmengine==0.10.12 \
        opencv-python-headless==4.12.0.88 setuptools wheel ninja
    MAX_JOBS=1 CFLAGS="-g0 -O2" nice -n 15 .peers/mmcv-ops/venv/bin/pip install --no-cache-dir \
        --no-build-isolation --no-deps --force-reinstall onedl-mmcv==2.3.6
    .peers/mmcv-ops/venv/bin/python tests/oracles/make_mmcv_ops_reference.py

Run on torch 2.13.0 (CPU), onedl-mmcv 2.3.6, Python 3.11, x86-64.

Keys of the file, with `case` as in `<pool_mode>-<aligned>-<sampling_ratio>-<spatial_scale>`:
    features (2, 3, 9, 11), rois (K, 5) in cells, rois_reversed (2, 5): further ones for aligned=0
    grad (K + 2, 3, 2, 3): gradient on the output, of which the first rows are used
    <case>/out, <case>/grad_input: RoIs divided by spatial_scale, output 2 x 3
    ties/...: the same for features of 0 and 1 and RoIs on quarters, where maxima are not unique
    nms/<set>/boxes, /scores, and nms/<set>-<threshold>-<offset>: indices kept
    batched_nms/...: boxes and scores of set "random" with classes
"""

import itertools
from pathlib import Path

import mmcv._ext  # noqa: F401  (no stand-in: this must be the compiled module)
import numpy as np
import torch
from mmcv.ops import batched_nms, nms, roi_align

TARGET = Path(__file__).resolve().parents[1] / "data" / "mmcv_ops.npz"
POOLED = (2, 3)

# In cells of a map 9 high and 11 wide: inside, across each border, outside, empty, larger than the map.
ROIS = [
    [0, 1.3, 0.9, 6.2, 7.7],
    [1, 2.0, 3.0, 5.0, 6.0],
    [1, -2.6, 1.1, 3.4, 4.2],
    [0, 7.9, 5.3, 14.2, 8.1],
    [0, 3.3, -4.1, 6.6, 1.7],
    [1, 1.2, 6.4, 4.9, 12.3],
    [0, -3.7, -3.2, 15.5, 13.1],
    [1, 20.0, 20.0, 26.0, 31.0],
    [0, -9.0, 2.0, -4.5, 5.0],
    [0, 4.0, 4.0, 4.0, 4.0],
    [1, 3.7, 2.2, 3.7, 6.9],
    [1, 5.1, 5.2, 5.3, 5.25],
    [0, 10.2, 8.1, 11.4, 9.6],
    [1, -1.0, -1.0, 2.0, 2.0],
]
ROIS_REVERSED = [[0, 6.0, 2.0, 3.0, 5.0], [1, 4.5, 7.5, 2.5, 6.0]]


def pool(features: np.ndarray, rois: np.ndarray, grad: np.ndarray, scale, ratio, mode, aligned) -> dict:
    leaf = torch.from_numpy(features).clone().requires_grad_()
    out = roi_align(leaf, torch.from_numpy(rois), POOLED, scale, ratio, mode, aligned)
    (grad_input,) = torch.autograd.grad(out, leaf, torch.from_numpy(grad[: len(rois)]))
    return {"out": out.detach().numpy(), "grad_input": grad_input.numpy()}


def in_pixels(rois: np.ndarray, scale: float) -> np.ndarray:
    rois = rois.copy()
    rois[:, 1:] /= np.float32(scale)
    return rois


def main() -> None:
    rng = np.random.default_rng(20)
    features = rng.normal(size=(2, 3, 9, 11)).astype(np.float32)
    rois = np.array(ROIS, np.float32)
    reversed_rois = np.array(ROIS_REVERSED, np.float32)
    grad = rng.normal(size=(len(rois) + len(reversed_rois), 3, *POOLED)).astype(np.float32)
    store = {"features": features, "rois": rois, "rois_reversed": reversed_rois, "grad": grad}
    for mode, aligned, ratio, scale in itertools.product(("avg", "max"), (0, 1), (0, 2), (1.0, 0.3, 0.125)):
        boxes = in_pixels(rois if aligned else np.concatenate([rois, reversed_rois]), scale)
        result = pool(features, boxes, grad, scale, ratio, mode, bool(aligned))
        store |= {f"{mode}-{aligned}-{ratio}-{scale}/{key}": value for key, value in result.items()}

    flat = rng.integers(0, 2, size=(2, 3, 9, 11)).astype(np.float32)
    corners = rng.integers(0, 24, size=(8, 2)) / 4
    quarters = np.concatenate([rng.integers(0, 2, size=(8, 1)), corners, corners + 6], 1).astype(np.float32)
    store |= {"ties/features": flat, "ties/rois": quarters}
    result = pool(flat, quarters, grad, 1.0, 2, "max", False)
    store |= {f"ties/{key}": value for key, value in result.items()}

    corner = rng.uniform(0, 60, size=(300, 2))
    random = np.concatenate([corner, corner + rng.uniform(0, 30, size=(300, 2))], 1)
    corner = rng.integers(0, 5, size=(150, 2))
    # Small whole numbers: equal boxes, empty boxes, and overlaps of exactly a half or a third.
    whole = np.concatenate([corner, corner + rng.integers(0, 4, size=(150, 2))], 1)
    sets = {
        "random": (random, rng.uniform(size=300)),
        "ties": (random, rng.integers(0, 6, size=300) / 8),
        "whole": (whole, rng.integers(0, 6, size=150) / 8),
        "single": (random[:1], rng.uniform(size=1)),
    }
    for name, (boxes, scores) in sets.items():
        boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
        store |= {f"nms/{name}/boxes": boxes, f"nms/{name}/scores": scores}
        for threshold, offset in itertools.product((0.0, 0.25, 0.3, 0.5, 0.7), (0, 1)):
            kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold, offset)[1]
            store[f"nms/{name}-{threshold}-{offset}"] = kept.numpy().astype(np.int16)

    classes = rng.integers(0, 4, size=300)
    boxes, scores = (torch.from_numpy(store[f"nms/random/{key}"]) for key in ("boxes", "scores"))
    config = {"type": "nms", "iou_threshold": 0.4, "max_num": 50, "score_threshold": 0.1}
    dets, kept = batched_nms(boxes, scores, torch.from_numpy(classes), config)
    store |= {"batched_nms/classes": classes.astype(np.int16), "batched_nms/dets": dets.numpy()}
    store["batched_nms/kept"] = kept.numpy().astype(np.int16)

    TARGET.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(TARGET, **store)
    print(f"{TARGET.name}: {len(store)} arrays, {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
