"""The volume task: voxels -> patches on the network's grid; logits of patches -> one class for each voxel."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dense.tasks.base import Task, register_task
from dense.tasks.palettes import distinct_colours

NORMALISATIONS = ("zscore", "ct", "range", "rgb", "none")


@register_task
@dataclass(frozen=True)
class VolumeTask(Task):
    """Geometry, value ranges and classes of a volumetric segmentation network, in nnU-Net's terms.

    size: (depth, height, width) of the patches. spacing: mm along z, y, x that volumes are resampled to, in the order
        of the file's axes after ``transpose``; None leaves the grid as it is. transpose: order in which the network
        sees the file's axes (nnU-Net's transpose_forward).
    channels: names of the input's channels. normalisation: of each: 'zscore' ((v - mean) / std of this volume, over
        what is not zero where ``masked``), 'ct' (clipped to, then standardised by ``intensities``), 'range' (to 0..1 by
        its own extremes), 'rgb' (v / 255), 'none'. masked: whether its z-score leaves out zeros around.
        intensities: of each channel (lower, upper, mean, std), used by 'ct' only; () where there is none.
    classes: names in the order of the logits, the background first; palette: their RGB colours.
    crop: whether what is zero in all channels around the content is cut away first, as nnU-Net does.
    generation: 1 or 2. nnU-Net 1 resamples, then normalises, and blends the patches' probabilities; nnU-Net 2
        normalises, then resamples, and blends logits.
    order, order_z: of the splines that resample values, in general, and along the coarse axis of a volume whose
        spacings differ by more than ``anisotropy``.
    step: distance between patches as a share of their size. mirror: axes of the patch that are flipped for the mirrored
        copies. gaussian: whether the middle of a patch counts more.

    Modes: 'mirrored', each patch in all combinations of the flips of ``mirror``, averaged; 'plain', once each.
    A network in use takes float32 (N, C, d, h, w), prepared values, and gives logits (N, classes, d, h, w).
    """

    size: tuple[int, int, int] = (128, 128, 128)
    spacing: tuple[float, float, float] | None = (1.5, 1.5, 1.5)
    transpose: tuple[int, int, int] = (0, 1, 2)
    channels: tuple[str, ...] = ("CT",)
    normalisation: tuple[str, ...] = ("zscore",)
    masked: tuple[bool, ...] = (False,)
    intensities: tuple[tuple[float, ...], ...] = ((),)
    classes: tuple[str, ...] = ("background", "foreground")
    palette: tuple[tuple[int, int, int], ...] = ()
    crop: bool = True
    generation: int = 2
    order: int = 3
    order_z: int = 0
    anisotropy: float = 3.0
    step: float = 0.5
    mirror: tuple[int, ...] = (0, 1, 2)
    gaussian: bool = True

    kind: ClassVar = "volume"
    modes: ClassVar = ("mirrored", "plain")

    def __post_init__(self):
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        size = (self.size,) * 3 if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 3 or any(int(s) != s or s < 8 for s in size):
            raise ValueError(f"size must be three whole numbers >= 8 (depth, height, width), not {self.size!r}")
        put("size", tuple(int(s) for s in size))
        if self.spacing is not None:
            spacing = tuple(float(s) for s in self.spacing)
            if len(spacing) != 3 or not all(0 < s < float("inf") for s in spacing):
                raise ValueError(f"spacing must be three positive numbers (mm along z, y, x), not {self.spacing!r}")
            put("spacing", spacing)
        if sorted(self.transpose) != [0, 1, 2]:
            raise ValueError(f"transpose must be an order of 0, 1, 2, not {self.transpose!r}")
        put("transpose", tuple(int(a) for a in self.transpose))
        if not set(self.mirror) <= {0, 1, 2} or len(set(self.mirror)) < len(self.mirror):
            raise ValueError(f"mirror must be different axes of 0, 1, 2, not {self.mirror!r}")
        put("mirror", tuple(sorted(int(a) for a in self.mirror)))
        if not 0 < self.step <= 1:
            raise ValueError(f"step must be above 0 and at most 1, not {self.step!r}")
        if self.generation not in (1, 2):
            raise ValueError(f"generation must be 1 or 2 (of nnU-Net), not {self.generation!r}")
        if not 0 <= self.order <= 5 or not 0 <= self.order_z <= 5:
            raise ValueError(f"order and order_z must be 0 to 5, not {self.order!r} and {self.order_z!r}")
        self._check_channels(put)
        self._check_classes(put)

    def _check_channels(self, put) -> None:
        channels = tuple(str(c) for c in self.channels)
        n = len(channels)
        if not n:
            raise ValueError("channels must name at least one")
        put("channels", channels)
        defaults = {"normalisation": "zscore", "masked": False, "intensities": ()}
        for name, default in defaults.items():
            values = tuple(getattr(self, name))
            if len(values) == 1 and n > 1 and values[0] == default:
                values *= n
            if len(values) != n:
                raise ValueError(f"{name} needs one entry for each of {n} channels, not {getattr(self, name)!r}")
            put(name, values)
        put("masked", tuple(bool(m) for m in self.masked))
        put("intensities", tuple(tuple(float(v) for v in values) for values in self.intensities))
        for kind, values in zip(self.normalisation, self.intensities, strict=True):
            if kind not in NORMALISATIONS:
                raise ValueError(f"normalisation must be of {', '.join(NORMALISATIONS)}, not {kind!r}")
            if len(values) not in (0, 4) or (kind == "ct" and (not values or values[3] <= 0)):
                raise ValueError("intensities must be (lower, upper, mean, std) with a positive std for each channel "
                                 f"that is normalised as 'ct', () for others; not {values!r}")

    def _check_classes(self, put) -> None:
        classes = tuple(str(c) for c in self.classes)
        if not 2 <= len(classes) < 65535 or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be at least two different names, not {self.classes!r}")
        palette = tuple(tuple(int(v) for v in c) for c in self.palette or distinct_colours(len(classes)))
        if len(palette) != len(classes) or any(len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in palette):
            raise ValueError(f"palette must be one RGB colour (0..255) for each of {len(classes)} classes, "
                             f"not {self.palette!r}")
        put("classes", classes)
        put("palette", palette)


VolumeTask.__abstractmethods__ = frozenset()  # until its methods are merged, which replace this line
