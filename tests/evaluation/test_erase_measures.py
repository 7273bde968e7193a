"""Measures of erased pictures against scikit-image and plain formulas."""
import numpy as np
import pytest

from dense.evaluation.erase import (
    ERASE_MEASURES,
    MOST_PSNR,
    SCALES,
    error_shares,
    evaluate_erased,
    frechet_distance,
    luma_error,
    mse,
    multi_scale_ssim,
    psnr,
    ssim_map,
    summarise_erased,
    text_left,
)


def pair(height=70, width=90, seed=0, strength=25):
    """A smooth picture and a noisy copy."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    clean = np.stack([128 + 70 * np.sin(y / (9 + c)) + 50 * np.cos(x / (5 + 2 * c)) for c in range(3)], 2)
    noisy = clean + rng.normal(0, strength, clean.shape)
    return noisy.clip(0, 255).astype(np.uint8), clean.clip(0, 255).astype(np.uint8)


def test_psnr_and_mse_are_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    pred, truth = pair()
    assert psnr(pred, truth) == pytest.approx(metrics.peak_signal_noise_ratio(truth, pred, data_range=255))
    assert mse(pred, truth) == pytest.approx(metrics.mean_squared_error(truth, pred) / 255**2)
    assert psnr(truth, truth) == MOST_PSNR


def test_ssim_map_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    pred, truth = pair()
    _, expected = metrics.structural_similarity(
        truth, pred, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2,
        full=True)
    np.testing.assert_allclose(ssim_map(pred, truth), expected.mean(2), atol=1e-9)


def test_inside_and_outside_are_apart():
    pred, truth = pair()
    mask = np.zeros(truth.shape[:2], np.uint8)
    mask[10:30, 20:50] = 255
    pred[mask == 0] = truth[mask == 0]
    figures = evaluate_erased(pred, truth, mask)
    assert figures["PSNR_out"] == MOST_PSNR
    inside = ((pred[10:30, 20:50].astype(float) - truth[10:30, 20:50]) / 255) ** 2
    assert figures["PSNR_in"] == pytest.approx(-10 * np.log10(inside.mean()))
    assert figures["SSIM_in"] == pytest.approx(ssim_map(pred, truth)[10:30, 20:50].mean())
    assert figures["MSE"] == pytest.approx(inside.sum() / truth.size)


def test_nothing_masked_has_no_figures_inside():
    pred, truth = pair()
    figures = evaluate_erased(pred, truth, np.zeros(truth.shape[:2], np.uint8))
    assert np.isnan([figures["PSNR_in"], figures["SSIM_in"], figures["left"]]).all()
    assert np.isfinite(figures["PSNR_out"])


def plain_multi_scale(pred, truth, downsample):
    """Scale by scale with scikit-image's parts of SSIM, from its formula without luminance."""
    from scipy.ndimage import gaussian_filter

    def blur(x):
        return np.stack([gaussian_filter(x[..., c], 1.5, truncate=5 / 1.5) for c in range(3)], 2)

    a, b, value = pred.astype(float), truth.astype(float), 1.0
    fits = [w for i, w in enumerate(SCALES) if not downsample or min(pred.shape[:2]) / 2**i >= 11]
    for index, weight in enumerate(fits):
        ma, mb = blur(a), blur(b)
        c1, c2 = 2.55**2, 7.65**2
        part = (2 * (blur(a * b) - ma * mb) + c2) / (blur(a * a) - ma**2 + blur(b * b) - mb**2 + c2)
        if index == len(fits) - 1:
            part = part * (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
        part = part[5:-5, 5:-5] if min(part.shape[:2]) > 10 else part
        value *= max(0, part.mean()) ** (weight / sum(fits))
        if downsample:
            a, b = (x[:x.shape[0] // 2 * 2, :x.shape[1] // 2 * 2] for x in (a, b))
            a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return value


@pytest.mark.parametrize("shape", [(200, 240), (70, 91), (20, 30)])
@pytest.mark.parametrize("downsample", [True, False])
def test_multi_scale_ssim_is_its_formula(shape, downsample):
    pytest.importorskip("scipy")
    pred, truth = pair(*shape)
    assert multi_scale_ssim(pred, truth, downsample) == pytest.approx(plain_multi_scale(pred, truth, downsample),
                                                                     abs=1e-6)
    assert multi_scale_ssim(truth, truth, downsample) == pytest.approx(1)


def test_luma_errors():
    pred, truth = pair(8, 9)
    expected = abs((pred.astype(float) - truth) @ (0.299, 0.587, 0.114))
    np.testing.assert_allclose(luma_error(pred, truth), expected)
    assert evaluate_erased(pred, truth, np.ones((8, 9)))["AGE"] == pytest.approx(expected.mean())
    assert (luma_error(pred, truth, rounded=True) % 1 == 0).all()


def test_wrong_pixels_and_clusters():
    error = np.zeros((9, 12))
    error[2:5, 3:6] = 21
    error[7, 10] = 100
    error[0, :2] = 20  # not above
    wrong, clustered = error_shares(error)
    assert wrong == pytest.approx(10 / 108)
    assert clustered == pytest.approx(1 / 108)
    assert error_shares(error, 512 * 512) == pytest.approx((10 / 512**2, 1 / 512**2))
    assert error_shares(np.full((4, 4), 50.0)) == pytest.approx((1, 4 / 16))  # those at the edge have fewer neighbours


def test_the_literatures_variant_divides_by_512_squared():
    pred, truth = pair(40, 50, strength=60)
    ours, theirs = (evaluate_erased(pred, truth, np.ones((40, 50)), literature=x) for x in (False, True))
    assert theirs["pEPs"] == pytest.approx(ours["pEPs"] * 2000 / 512**2, rel=0.05)
    assert theirs["MSSIM"] == pytest.approx(multi_scale_ssim(pred, truth, downsample=False))
    assert theirs["PSNR"] == ours["PSNR"]


def test_text_that_is_left():
    truth = np.full((60, 80, 3), 100, np.uint8)
    image = truth.copy()
    image[10:20, 10:30] = image[40:50, 10:30] = 200
    pred = image.copy()
    pred[10:20, 10:30] = 100  # gone
    pred[40:50, 20:30] = 100  # half of it
    boxes = [np.array([[5, y], [35, y], [35, y + 20], [5, y + 20]]) for y in (5, 35)]
    assert text_left(image, pred, truth, boxes) == [0.0, 0.5]
    assert text_left(truth, pred, truth, boxes) == []
    assert evaluate_erased(pred, truth, np.ones((60, 80)), image, boxes)["left"] == 0.25


def test_means_leave_nan_out():
    rows = [dict.fromkeys(ERASE_MEASURES, 1.0), dict.fromkeys(ERASE_MEASURES, 3.0) | {"left": float("nan")}]
    figures = summarise_erased(rows)
    assert figures["PSNR"] == 2
    assert figures["left"] == 1


def test_frechet_distance_of_normal_distributions():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (20000, 3)) @ np.diag((1, 2, 3))
    b = rng.normal(0, 1, (20000, 3)) @ np.diag((2, 2, 1)) + (1, 0, 2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(5 + (1 - 2)**2 + (3 - 1)**2, rel=0.03)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 5, 3), np.uint8)])
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8|size"):
        psnr(wrong, np.zeros((4, 4, 3), np.uint8))
