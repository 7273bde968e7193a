"""Measures of erased pictures, on uint8 RGB arrays (H, W, 3).

The literature's evaluation (as ViTEraser's) departs from its own definitions: it divides counts of pixels by a fixed
512 x 512, rounds luma to whole numbers, and its multi-scale SSIM never changes scale. The functions here follow the
definitions; ``literature=True`` of ``evaluate_erased`` follows the literature, for comparisons with printed tables.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

MOST_PSNR = 100.0  # dB that equal pictures are given, so that means over pictures exist
LUMA = (0.299, 0.587, 0.114)  # BT.601
ERROR = 20  # of luma, from which a pixel counts as wrong
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of Wang et al., Asilomar 2003
SIDE, SIGMA = 11, 1.5  # of SSIM's window
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

ERASE_MEASURES = ("PSNR", "MSSIM", "MSE", "AGE", "pEPs", "pCEPs", "PSNR_in", "SSIM_in", "PSNR_out", "left")
"""What ``evaluate_erased`` gives; of PSNR, MSSIM and SSIM more is better, of the others less."""


def mse(pred: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error of values in 0..1; with a mask (H, W), non-zero where it counts, nan if that is nowhere."""
    _check(pred, truth)
    error = ((pred.astype(np.float64) - truth) / 255) ** 2
    if mask is not None:
        error = error[mask > 0]
    return float(error.mean()) if error.size else float("nan")


def psnr(pred: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, at most ``MOST_PSNR``; mask as for ``mse``."""
    error = mse(pred, truth, mask)
    return MOST_PSNR if error == 0 else float(np.minimum(MOST_PSNR, -10 * np.log10(error)))


def ssim_map(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of every pixel, float64 (H, W), the mean of the channels'; Wang et al., TIP 2004.

    Gaussian window of 11 pixels, sigma 1.5; the pictures are mirrored beyond their edges.
    """
    _check(pred, truth)
    luminance, contrast = _ssim_parts(pred.astype(np.float64), truth.astype(np.float64))
    return (luminance * contrast).mean(2)


def multi_scale_ssim(pred: np.ndarray, truth: np.ndarray, downsample: bool = True) -> float:
    """Multi-scale SSIM, 0..1: five scales, each half of the one before (2 x 2 means).

    Windows that reach beyond the picture do not count. Pictures too small for five scales have fewer, of which the
    weights are divided by their sum. Negative parts count as 0. downsample: False keeps all scales at full size, as in
    the literature.
    """
    _check(pred, truth)
    a, b = pred.astype(np.float64), truth.astype(np.float64)
    most = 1 + int(np.floor(np.log2(max(1, min(a.shape[:2]) / SIDE)))) if downsample else len(SCALES)
    weights = np.array(SCALES[:min(most, len(SCALES))])
    weights /= weights.sum()
    value, edge = 1.0, SIDE // 2
    for index, weight in enumerate(weights):
        luminance, contrast = _ssim_parts(a, b)
        part = luminance * contrast if index == len(weights) - 1 else contrast
        if min(part.shape[:2]) > 2 * edge:
            part = part[edge:-edge, edge:-edge]
        value *= max(0.0, float(part.mean())) ** weight
        if downsample:
            a, b = (cv2.resize(x[:x.shape[0] // 2 * 2, :x.shape[1] // 2 * 2], (x.shape[1] // 2, x.shape[0] // 2),
                               interpolation=cv2.INTER_AREA) if min(x.shape[:2]) > 1 else x for x in (a, b))
    return value


def _ssim_parts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (SIDE, SIDE), SIGMA, borderType=cv2.BORDER_REFLECT)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1), (2 * both + C2) / (var_a + var_b + C2))


def luma_error(pred: np.ndarray, truth: np.ndarray, rounded: bool = False) -> np.ndarray:
    """Absolute difference of luma, float64 (H, W), 0..255; rounded: of luma in whole numbers."""
    _check(pred, truth)
    a, b = (x.astype(np.float64) @ LUMA for x in (pred, truth))
    return np.abs(np.rint(a) - np.rint(b)) if rounded else np.abs(a - b)


def error_shares(error: np.ndarray, pixels: int | None = None) -> tuple[float, float]:
    """pEPs and pCEPs of a map of luma errors: shares of wrong pixels, and of those whose four neighbours are wrong too
    (those at the edge of the picture have fewer, and never count). pixels: divisor in place of the map's size."""
    wrong = (error > ERROR).view(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    clustered = cv2.erode(wrong, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return tuple(np.count_nonzero(x) / (pixels or wrong.size) for x in (wrong, clustered))


def text_left(image: np.ndarray, pred: np.ndarray, truth: np.ndarray, polygons: Iterable[np.ndarray]) -> list[float]:
    """For each text how much of it is left, 0..1: the distance of the result from the clean picture, as a share of that
    of the given one, over the pixels inside the polygon (n, 2), x and y, where the given one differs. Texts of which
    nothing can be seen are left out."""
    _check(pred, truth)
    before, after = (np.abs(x.astype(np.int16) - truth).sum(2) for x in (image, pred))
    shares = []
    for polygon in polygons:
        inside = cv2.fillPoly(np.zeros(before.shape, np.uint8), [np.asarray(polygon, np.int32)], 1) > 0
        seen = inside & (before > 3 * ERROR)
        if seen.any():
            shares.append(min(1.0, float(after[seen].sum() / before[seen].sum())))
    return shares


def evaluate_erased(pred: np.ndarray, truth: np.ndarray, mask: np.ndarray, image: np.ndarray | None = None,
                    polygons: Iterable[np.ndarray] = (), literature: bool = False) -> dict[str, float]:
    """The figures of one picture; those of a data set are the means of its pictures', nan left out.

    mask: (H, W), non-zero where was to be erased; ``_in`` and ``_out`` are over its pixels and the others. image: as it
    was given, with ``polygons`` for the mean share of text that is left. literature: see the module.
    """
    error = luma_error(pred, truth, literature)
    wrong, clustered = error_shares(error, 512 * 512 if literature else None)
    left = text_left(image, pred, truth, polygons) if image is not None else []
    inside = mask > 0
    return {
        "PSNR": psnr(pred, truth), "MSSIM": multi_scale_ssim(pred, truth, not literature), "MSE": mse(pred, truth),
        "AGE": float(error.mean()), "pEPs": wrong, "pCEPs": clustered, "PSNR_in": psnr(pred, truth, inside),
        "SSIM_in": float(ssim_map(pred, truth)[inside].mean()) if inside.any() else float("nan"),
        "PSNR_out": psnr(pred, truth, ~inside), "left": float(np.mean(left)) if left else float("nan")}


def summarise_erased(rows: Sequence[dict], names: Sequence[str] = ERASE_MEASURES) -> dict[str, float]:
    """Figures of a data set from those of its pictures; nan where no picture has one."""
    out = {}
    for name in names:
        values = [row[name] for row in rows if not np.isnan(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Distance of two normal distributions fitted to features (N, D) and (M, D); FID, where these are InceptionV3's
    (Heusel et al., NeurIPS 2017)."""
    means = [f.mean(0) for f in (features, others)]
    covariances = [np.atleast_2d(np.cov(f, rowvar=False)) for f in (features, others)]
    # the trace of the root of a product is the sum of the roots of its eigenvalues, which are real and not negative
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root)


def _check(pred: np.ndarray, truth: np.ndarray) -> None:
    for array in (pred, truth):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            raise ValueError(f"expected uint8 RGB pictures (H, W, 3), got {array.dtype} {array.shape}")
    if pred.shape != truth.shape:
        raise ValueError(f"the pictures differ in size: {pred.shape} and {truth.shape}")
