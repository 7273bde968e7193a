"""The volume task: voxels -> patches on the network's grid; logits of patches -> one class for each voxel."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dense.errors import ImageError
from dense.io.volume import Volume
from dense.tasks.base import Output, RunAll, Task, register_task
from dense.tasks.palettes import distinct_colours
from dense.tasks.volume_blend import Blending, Forward, Say, Sink, read_patch
from dense.tasks.volume_plan import Box, Flips, VolumePlan, plan_volume
from dense.tasks.volume_prepare import Prepared, prepare

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

    # ---- from voxels to labels

    def prepare(self, values: np.ndarray, spacing: tuple[float, float, float]) -> Prepared:
        """A volume as the network sees it: its axes in the network's order, cropped, normalised, on its grid.

        values: (C, Z, Y, X), real, or (Z, Y, X) of one channel; they are not changed. spacing: mm along Z, Y, X.
        ImageError for NaN and infinite values, another number of channels, and spacings that are none. A volume
        of zeros is not cropped.
        """
        return prepare(self, values, spacing)

    def inputs(self, picture: Volume) -> Prepared:
        """``prepare`` of a volume with its name in errors; what the methods below call ``image``."""
        try:
            return self.prepare(picture.values, picture.spacing)
        except ImageError as error:
            raise ImageError(f"{picture.name}: {error}") from None

    def plan(self, shape: tuple[int, int, int], mode: str) -> VolumePlan:
        """Patches and mirrored copies of a volume of ``shape`` (z, y, x) on the network's grid."""
        self.check_mode(mode)
        return plan_volume(shape, self.size, self.step, self.mirror if mode == "mirrored" else ())

    def plan_for(self, image: Prepared, mode: str) -> VolumePlan:
        """The plan of a prepared volume."""
        return self.plan(image.shape, mode)

    def tensor(self, image: Prepared, plan: VolumePlan | None = None, window: Box | None = None,
               flips: Flips = ()) -> np.ndarray:
        """float32 (C, d, h, w): one patch, the first by default, turned round along ``flips``, 0 beyond the volume."""
        plan = plan or self.plan_for(image, "plain")
        return read_patch(image.values, plan, window or next(plan.boxes()), flips)

    def segment(self, values: np.ndarray, spacing: tuple[float, float, float], forward: Forward,
                mode: str | None = None, batch: int = 1, max_memory: int | None = None,
                probabilities: Sink | None = None, say: Say | None = None, half: bool = False) -> np.ndarray:
        """Labels (Z, Y, X) of a volume at its own grid: indices of ``classes``, uint8, or uint16 above 256 of them.

        values, spacing: see ``prepare``. forward: from float32 (N, C, d, h, w) to logits (N, classes, d, h, w), as one
            array or N; the array that it is given is used again. batch: patches that it is given at once, mirrored
            copies counted.
        max_memory: bytes for what is kept beside the network and beside ``values``; None is half of the machine's
            memory. The volume is worked off along one axis, and sums over patches are kept for as many rows as a patch
            has; where they do not fit, in a temporary file. The labels are the same.
        probabilities: is given, from first to last, (slice along Z, float32 (classes, dz, Y, X)) of all of the volume;
            what was cropped away is background.
        say: is called with (done, total) after each patch.
        half: sums in float16, as nnU-Net 2 keeps them: half the memory; classes that are nearly equal may change
            places, most of all at the borders of the volume.

        Raises what ``prepare`` raises; ImageError where ``max_memory`` is too little even so; DenseError for output
        that is not finite, and for a full disk; InputError for output of another shape.
        """
        prepared = self.prepare(values, spacing)
        plan = self.plan_for(prepared, mode or self.modes[0])
        return Blending(self, prepared, plan, forward, batch, max_memory, probabilities, say, half).run()

    def run(self, image: Prepared, forward: Forward, mode: str | None = None, batch: int = 1) -> np.ndarray:
        """``segment`` of a prepared volume."""
        return Blending(self, image, self.plan_for(image, mode or self.modes[0]), forward, batch).run()

    def finish(self, image: Prepared, plan: VolumePlan, overview: Output | None, run_all: RunAll) -> np.ndarray:
        """Labels (Z, Y, X), see ``segment``; all copies of a patch are given to ``run_all`` at once."""
        return Blending(self, image, plan, lambda batch: run_all(iter(batch)), len(plan.flips)).run()
