"""A stand-in for `mmcv._ext`, mmcv's compiled operators.

Without a compiler mmcv installs without `mmcv._ext`, and then `mmcv.ops` and with it `mmdet.models`
cannot even be imported. The stand-in makes them importable and computes, in plain torch, the two
operators that detectors need on a CPU: RoIAlign (forward and backward) and NMS. Every other operator
exists but raises `MissingDependencyError` when it is called.

The rules of both operators (the half-pixel shift, which samples count, the order of what NMS keeps) are
those of mmcv 2.x; tests/oracles/make_mmcv_ops_reference.py stores what its compiled operators give, and
the tests compare with it. RoIAlign: He et al., "Mask R-CNN", ICCV 2017.
"""

import importlib
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from dense.errors import MissingDependencyError

__all__ = ["ensure_mmcv_ext", "nms", "roi_align_backward", "roi_align_forward"]

_EXT = "mmcv._ext"
_INSTALL_DET = "pip install 'dense[det]'"
INSTALL_OPS = (
    'MAX_JOBS=2 CFLAGS="-g0 -O2" pip install --no-cache-dir --no-build-isolation --no-deps'
    " --force-reinstall onedl-mmcv==2.3.6"
)

_MAX, _AVG = 0, 1
# The compiled operator starts its search for the maximum here; an empty bin keeps this value.
_MAX_FLOOR = -10000.0
# Bounds on the temporary tensors, 8 to 32 MB each: RoIs are handled in groups of about this size.
_AVG_SAMPLES = 1 << 18
_MAX_VALUES = 1 << 22
# NMS compares this many boxes at a time with all that are left.
_NMS_BLOCK = 128


# --------------------------------------------------------------------------------------------------
# RoIAlign


@dataclass(frozen=True)
class _Grid:
    """Where K RoIs are sampled, in cells of the feature map; each field has shape (K,).

    A RoI is cut into bins, and each bin is sampled at `grid_h` x `grid_w` points.
    """

    image: Tensor  # int64, index into the batch
    start_h: Tensor
    start_w: Tensor
    bin_h: Tensor
    bin_w: Tensor
    grid_h: Tensor  # int64
    grid_w: Tensor  # int64

    def rows(self, rows: slice) -> "_Grid":
        return _Grid(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class _Samples:
    """All T sampling points of some RoIs, ordered by RoI, bin (row by row) and point (row by row)."""

    bin: Tensor  # (T,) int64: (roi * height + row) * width + column
    y: Tensor  # (T,)
    x: Tensor  # (T,)
    cell: Tensor  # (T, 4) int64: the four neighbours in the flattened (image, y, x) map
    weight: Tensor  # (T, 4): their bilinear weights, all zero for a point outside the map


def _compute_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _make_grid(
    rois: Tensor,
    n_images: int,
    out_h: int,
    out_w: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> _Grid:
    if not torch.isfinite(rois).all():
        raise RuntimeError("roi_align: a RoI has a coordinate that is NaN or infinite")
    image = rois[:, 0].long()
    if ((image < 0) | (image >= n_images)).any():
        raise IndexError(f"roi_align: a RoI names a picture outside the batch of {n_images}")
    start_w, start_h, end_w, end_h = (rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
    roi_h, roi_w = end_h - start_h, end_w - start_w
    if not aligned:
        roi_h, roi_w = roi_h.clamp(min=1.0), roi_w.clamp(min=1.0)
    elif ((roi_h < 0) | (roi_w < 0)).any():
        raise RuntimeError("roi_align: with aligned=True a RoI may not have x2 < x1 or y2 < y1")
    bin_h, bin_w = roi_h / out_h, roi_w / out_w
    if sampling_ratio > 0:
        grid_h = grid_w = torch.full_like(image, sampling_ratio)
    else:
        grid_h, grid_w = bin_h.float().ceil().long(), bin_w.float().ceil().long()
    return _Grid(image, start_h, start_w, bin_h, bin_w, grid_h, grid_w)


def _chunks(grid: _Grid, out_h: int, out_w: int, max_samples: int) -> Iterator[slice]:
    """Consecutive groups of RoIs with about `max_samples` points each (one RoI may have more)."""
    total = (grid.grid_h * grid.grid_w * (out_h * out_w)).cumsum(0)
    start = 0
    for size in torch.unique_consecutive(total // max_samples, return_counts=True)[1].tolist():
        yield slice(start, start + size)
        start += size


def _axis_neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lower and upper neighbour (int64), weight of the upper one, and whether the point counts.

    Points up to one cell outside the map count and take the value of its border.
    """
    inside = (position >= -1.0) & (position <= size)
    position = torch.where(inside, position, 0.0).clamp(min=0.0)
    low = position.long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    fraction = torch.where(low < size - 1, position - low, 0.0)
    return low, high, fraction, inside


def _neighbours(image: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Indices into the flattened (image, y, x) map and bilinear weights, each (..., 4)."""
    y_low, y_high, y_frac, y_inside = _axis_neighbours(y, height)
    x_low, x_high, x_frac, x_inside = _axis_neighbours(x, width)
    top, bottom = (image * height + y_low) * width, (image * height + y_high) * width
    cell = torch.stack([top + x_low, top + x_high, bottom + x_low, bottom + x_high], -1)
    y_rest, x_rest = 1.0 - y_frac, 1.0 - x_frac
    weight = torch.stack([y_rest * x_rest, y_rest * x_frac, y_frac * x_rest, y_frac * x_frac], -1)
    return cell, weight * (y_inside & x_inside).unsqueeze(-1)


def _sample(grid: _Grid, out_h: int, out_w: int, height: int, width: int) -> _Samples:
    device = grid.image.device
    per_bin = grid.grid_h * grid.grid_w
    per_roi = per_bin * (out_h * out_w)
    roi = torch.repeat_interleave(torch.arange(len(per_roi), device=device), per_roi)
    first = per_roi.cumsum(0) - per_roi
    rest = torch.arange(len(roi), device=device) - first[roi]
    bin_in_roi, rest = rest // per_bin[roi], rest % per_bin[roi]
    iy, ix = rest // grid.grid_w[roi], rest % grid.grid_w[roi]
    bin_y, bin_x = bin_in_roi // out_w, bin_in_roi % out_w
    bin_h, bin_w = grid.bin_h[roi], grid.bin_w[roi]
    # In this order of operations the coordinates are those of the compiled operator to the last bit,
    # which decides on which side of a border a point falls.
    y = grid.start_h[roi] + bin_y * bin_h + (iy + 0.5) * bin_h / grid.grid_h[roi]
    x = grid.start_w[roi] + bin_x * bin_w + (ix + 0.5) * bin_w / grid.grid_w[roi]
    cell, weight = _neighbours(grid.image[roi], y, x, height, width)
    return _Samples(roi * (out_h * out_w) + bin_in_roi, y, x, cell, weight)


def _weighted_sums(table: Tensor, index: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Sums of `counts[i]` consecutive rows `weight * table[index]`; (R, C), (E,), (E,), (S,) -> (S, C)."""
    # embedding_bag never forms the (E, C) products: ten times as fast here as index_add_.
    return embedding_bag(
        index, table, counts.cumsum(0) - counts, mode="sum", per_sample_weights=weight.to(table.dtype)
    )


def _max_per_bin(samples: _Samples, table: Tensor, n_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Largest sample of each bin, and its y and x; each (n_bins, C). The first wins among equals."""
    n_samples, channels = len(samples.bin), table.shape[1]
    none = float("-inf")
    best = table.new_full((n_bins, channels), none)
    if n_samples == 0:
        return best.fill_(_MAX_FLOOR), torch.full_like(best, -1.0), torch.full_like(best, -1.0)
    value = embedding_bag(samples.cell, table, mode="sum", per_sample_weights=samples.weight.to(table.dtype))
    # NaN too: the compiled search compares with > and passes it over.
    value = torch.where(value > _MAX_FLOOR, value, none)
    index = samples.bin.unsqueeze(1).expand(-1, channels)
    best.scatter_reduce_(0, index, value, "amax")
    number = torch.arange(n_samples, device=table.device).unsqueeze(1)
    candidate = torch.where(value == best[samples.bin], number, n_samples - 1)
    first = torch.full_like(best, n_samples - 1, dtype=torch.long).scatter_reduce_(
        0, index, candidate, "amin"
    )
    found = best > none
    return (
        torch.where(found, best, _MAX_FLOOR),
        torch.where(found, samples.y[first], -1.0),
        torch.where(found, samples.x[first], -1.0),
    )


@torch.no_grad()
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool the features under each RoI to a fixed size; called by `mmcv.ops.roi_align`.

    float16 and bfloat16 are computed in float32 and cast back (mmcv's own has no bfloat16).

    Args:
        input: features (N, C, H, W), floating, any strides.
        rois: (K, 5): index into the batch, then x1, y1, x2, y2 in pixels of the picture.
        output: (K, C, aligned_height, aligned_width), overwritten.
        argmax_y, argmax_x: with maximum pooling, shaped as `output` and overwritten with the place of the
            maximum in cells of the feature map, -1 for an empty bin; otherwise ignored.
        spatial_scale: cells per pixel.
        sampling_ratio: points per bin and axis; 0: as many as the bin has cells, rounded up.
        pool_mode: 0 for the maximum, 1 for the mean.
        aligned: shift by half a cell so that cell centres lie at half-integers; else the older rule,
            without the shift and with RoIs at least one cell large.

    Raises:
        RuntimeError: a RoI is not finite or, with `aligned`, turned inside out.
        IndexError: a RoI refers to a picture that is not in the batch.
    """
    if len(rois) == 0:
        return
    dtype = _compute_dtype(input)
    n_images, channels, height, width = input.shape
    out_h, out_w = aligned_height, aligned_width
    grid = _make_grid(rois.to(dtype), n_images, out_h, out_w, spatial_scale, sampling_ratio, aligned)
    table = input.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)
    limit = _AVG_SAMPLES if pool_mode == _AVG else max(1, _MAX_VALUES // max(1, channels))
    for rows in _chunks(grid, out_h, out_w, limit):
        part = grid.rows(rows)
        samples = _sample(part, out_h, out_w, height, width)
        shape = (len(part.image), out_h, out_w, channels)
        if pool_mode == _AVG:
            per_bin = (part.grid_h * part.grid_w).repeat_interleave(out_h * out_w)
            pooled = _weighted_sums(table, samples.cell.flatten(), samples.weight.flatten(), 4 * per_bin)
            pooled /= per_bin.clamp(min=1).unsqueeze(1)
        else:
            pooled, y, x = _max_per_bin(samples, table, shape[0] * out_h * out_w)
            argmax_y[rows] = y.view(shape).permute(0, 3, 1, 2).to(argmax_y.dtype)
            argmax_x[rows] = x.view(shape).permute(0, 3, 1, 2).to(argmax_x.dtype)
        output[rows] = pooled.view(shape).permute(0, 3, 1, 2).to(output.dtype)


@torch.no_grad()
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add to `grad_input` the gradient of `roi_align_forward`; called by `mmcv.ops.roi_align`.

    With maximum pooling the weights come from `argmax_y` and `argmax_x`, so in half precision they are
    as coarse as those; RoIs get no gradient, as in mmcv.

    Args:
        grad_output: (K, C, aligned_height, aligned_width).
        argmax_y, argmax_x: as `roi_align_forward` left them.
        grad_input: (N, C, H, W), zeros on entry.
        rois, aligned_height, aligned_width, spatial_scale, sampling_ratio, pool_mode, aligned: as in
            `roi_align_forward`, which also lists the errors.
    """
    if len(rois) == 0:
        return
    dtype = _compute_dtype(grad_output)
    n_images, channels, height, width = grad_input.shape
    out_h, out_w = aligned_height, aligned_width
    rois, grad_output = rois.to(dtype), grad_output.to(dtype)
    if pool_mode == _MAX:
        y, x = argmax_y.to(dtype), argmax_x.to(dtype)
        # Planes are numbered over pictures and channels: each has a maximum of its own.
        plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
        cell, weight = _neighbours(plane[:, :, None, None], y, x, height, width)
        # As in mmcv, which takes a maximum at exactly y = -1 for an empty bin.
        weight = weight * (y != -1.0).unsqueeze(-1)
        total = grad_output.new_zeros(grad_input.numel())
        total.index_add_(0, cell.flatten(), (weight * grad_output.unsqueeze(-1)).flatten())
        grad_input += total.view(grad_input.shape).to(grad_input.dtype)
        return

    grid = _make_grid(rois, n_images, out_h, out_w, spatial_scale, sampling_ratio, aligned)
    per_bin = (grid.grid_h * grid.grid_w).clamp(min=1).view(-1, 1, 1, 1)
    grad_bins = (grad_output.permute(0, 2, 3, 1) / per_bin).view(-1, out_h * out_w, channels)
    total = grad_output.new_zeros(n_images * height * width, channels)
    for rows in _chunks(grid, out_h, out_w, _AVG_SAMPLES):
        samples = _sample(grid.rows(rows), out_h, out_w, height, width)
        # The forward pass with the roles exchanged: for each cell, a weighted sum over bins.
        cell, by_cell = samples.cell.flatten().sort()
        touched, counts = torch.unique_consecutive(cell, return_counts=True)
        weight = samples.weight.flatten()[by_cell]
        total[touched] += _weighted_sums(
            grad_bins[rows].reshape(-1, channels), samples.bin[by_cell // 4], weight, counts
        )
    grad_input += total.view(n_images, height, width, channels).permute(0, 3, 1, 2).to(grad_input.dtype)


# --------------------------------------------------------------------------------------------------
# NMS


def _iou(rows: Tensor, columns: Tensor, offset: int) -> Tensor:
    """Overlap of boxes (R, 4) with boxes (S, 4), as x1, y1, x2, y2: (R, S). NaN where both are empty."""
    low = torch.maximum(rows[:, None, :2], columns[:, :2])
    high = torch.minimum(rows[:, None, 2:], columns[:, 2:])
    sides = (high - low + offset).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    area_rows, area_columns = (
        (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
        for boxes in (rows, columns)
    )
    return common / (area_rows[:, None] + area_columns - common)


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Drop each box that overlaps one of higher score too much; called by `mmcv.ops.nms`.

    Runs on the CPU; half precision is computed in float32.

    Args:
        boxes: (N, 4): x1, y1, x2, y2 in pixels.
        scores: (N,).
        iou_threshold: a box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where x2 and y2 belong to the box (width = x2 - x1 + 1).

    Returns:
        int64 (M,) on the boxes' device: the indices that stay, by falling score; equal scores in the
        order in which torch sorts them, as in mmcv.
    """
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    order = scores.cpu().sort(0, descending=True).indices
    ranked = boxes.cpu().to(_compute_dtype(boxes))[order]
    # In the boxes' precision, not in Python's: an IoU that is exactly at the threshold stays.
    threshold = torch.tensor(iou_threshold, dtype=ranked.dtype)
    kept = []
    while len(order):
        too_close = _iou(ranked[:_NMS_BLOCK], ranked, offset) > threshold
        among, alive = too_close.numpy(), torch.ones(len(too_close), dtype=torch.bool)
        flags = alive.numpy()
        for i in range(len(flags)):
            if flags[i]:
                flags[i + 1 :] &= ~among[i, i + 1 : len(flags)]
        kept.append(order[:_NMS_BLOCK][alive])
        left = ~too_close[alive, _NMS_BLOCK:].any(0)
        order, ranked = order[_NMS_BLOCK:][left], ranked[_NMS_BLOCK:][left]
    return torch.cat(kept).to(boxes.device)


# --------------------------------------------------------------------------------------------------
# The module


def _absent_op(name: str) -> Callable[..., NoReturn]:
    def absent(*args: object, **kwargs: object) -> NoReturn:
        raise MissingDependencyError(
            f"mmcv's operator '{name}' exists only in compiled form, and mmcv is installed here without its"
            " compiled operators (dense stands in for RoIAlign and NMS only). To compile them, with a C++"
            f" compiler and ninja installed:\n    {INSTALL_OPS}"
        )

    absent.__name__ = absent.__qualname__ = name
    return absent


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # mmcv asks with hasattr for each operator that it will call. Names with an underscore are asked
        # for by inspect, copy, pytest and others, which must learn that they are not there.
        if name.startswith("_"):
            raise AttributeError(f"module '{_EXT}' has no attribute '{name}'")
        op = _absent_op(name)
        setattr(self, name, op)
        return op


def _make_stand_in() -> _StandIn:
    module = _StandIn(_EXT, "dense's stand-in for mmcv's compiled operators.")
    # Without a spec importlib.util.find_spec, and with it mmcv's check_ops_exist, raises.
    module.__spec__ = importlib.machinery.ModuleSpec(_EXT, loader=None, origin=__name__)
    module.roi_align_forward = roi_align_forward
    module.roi_align_backward = roi_align_backward
    module.nms = nms
    # mmcv's report of the environment asks for these.
    module.get_compiler_version = lambda: "n/a"
    module.get_compiling_cuda_version = lambda: "n/a"
    return module


def ensure_mmcv_ext() -> bool:
    """Make `mmcv.ops` importable: put the stand-in into `sys.modules` unless the real one is there.

    To be called before anything imports `mmcv.ops` or `mmdet.models`; further calls change nothing.

    Returns:
        True where the stand-in is in use, False where mmcv's compiled operators are.

    Raises:
        MissingDependencyError: mmcv, or a library that it needs, is not installed.
    """
    present = sys.modules.get(_EXT)
    if present is not None:
        return isinstance(present, _StandIn)
    try:
        importlib.import_module("mmcv")
    except ImportError as error:
        what = f"'{error.name}'" if isinstance(error, ModuleNotFoundError) else f"mmcv ({error})"
        raise MissingDependencyError(
            f"Detectors need mmcv, which cannot be imported: {what} is missing or damaged. Install with:\n"
            f"    {_INSTALL_DET}"
        ) from error
    try:
        importlib.import_module(_EXT)
        return False
    except ModuleNotFoundError as error:
        if error.name != _EXT:
            _warn_damaged(error)
    except (ImportError, OSError) as error:
        _warn_damaged(error)
    sys.modules[_EXT] = _make_stand_in()
    return True


def _warn_damaged(error: Exception) -> None:
    warnings.warn(
        f"mmcv's compiled operators do not load ({error}); they may be built for another torch. dense"
        f" uses its own RoIAlign and NMS instead. To rebuild them:\n    {INSTALL_OPS}",
        RuntimeWarning,
        stacklevel=3,
    )
