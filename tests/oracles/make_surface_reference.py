"""Print what DeepMind's surface-distance 0.1 (Apache-2.0) says of two balls; for test_volume_measures.py.

    python -m venv .peers/surface && .peers/surface/bin/pip install surface-distance==0.1 numpy==2.3.4 scipy==1.17.1
    .peers/surface/bin/python tests/oracles/make_surface_reference.py
"""
import numpy as np
import surface_distance as peer


def ball(shape, radius, shift=(0, 0, 0)):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - n / 2 - s) ** 2 for g, n, s in zip(grid, shape, shift, strict=True)) < radius**2


for spacing in ((1, 1, 1), (3, 1, 1)):
    truth, pred = ball((40, 40, 40), 12), ball((40, 40, 40), 13, (0.5, 0.5, 0))
    distances = peer.compute_surface_distances(truth, pred, spacing)
    for tolerance in (0.4, 1.1, 3.3):
        print(spacing, tolerance, round(peer.compute_surface_dice_at_tolerance(distances, tolerance), 4),
              "HD95", round(float(peer.compute_robust_hausdorff(distances, 95)), 4))
