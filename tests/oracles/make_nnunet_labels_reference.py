"""Make tests/data/nnunet_labels_resampled.npz: labels that nnU-Net 2.8.1 (batchgenerators 0.25.5) resampled.

    sh tests/oracles/nnunet_env.sh
    .peers/nnunet/bin/python tests/oracles/make_nnunet_labels_reference.py

Keys, for each NAME: NAME/source int16 (z, y, x), NAME/spacing and NAME/target float64 (z, y, x) in mm, NAME/labels.
"""
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    resample_data_or_seg_to_shape,
)

TARGET = Path(__file__).resolve().parents[1] / "data" / "nnunet_labels_resampled.npz"
CASES = {  # shape, spacing, target
    "finer": ((14, 16, 12), (2.0, 1.5, 2.0), (1.3, 1.0, 1.1)),
    "coarser": ((20, 22, 18), (1.0, 1.0, 1.0), (1.7, 1.5, 2.0)),
    "flat": ((7, 20, 24), (6.0, 0.8, 0.9), (4.0, 1.0, 1.0)),
    "to flat": ((20, 20, 18), (1.0, 1.0, 1.0), (5.0, 1.1, 1.2)),
    "same": ((9, 10, 11), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
}


def blocks(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(shape, np.int16)
    for _ in range(14):
        corner = [int(rng.integers(0, n - 2)) for n in shape]
        box = tuple(slice(c, c + int(rng.integers(2, 2 + n // 2))) for c, n in zip(corner, shape, strict=True))
        labels[box] = int(rng.integers(-1, 5))
    return labels


def main() -> None:
    rng, arrays = np.random.default_rng(0), {}
    for name, (shape, spacing, target) in CASES.items():
        source = blocks(shape, rng)
        labels = resample_data_or_seg_to_shape(
            source[None], compute_new_shape(shape, spacing, target), spacing, target, is_seg=True, order=1, order_z=0,
            force_separate_z=None)[0]
        arrays |= {f"{name}/source": source, f"{name}/spacing": spacing, f"{name}/target": target,
                   f"{name}/labels": labels.astype(np.int16)}
    np.savez_compressed(TARGET, **arrays)
    print(TARGET, TARGET.stat().st_size)


if __name__ == "__main__":
    main()
