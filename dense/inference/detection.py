"""Results of detection: boxes, scores and classes of what is in a picture, and the picture with them."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from dense.inference.results import Result, register_result
from dense.io import Picture, encode_picture, write_bytes
from dense.io.picture import format_of
from dense.tasks import DetectionTask
from dense.tasks.detection import Detections
from dense.tasks.detection_pictures import draw_detections


@register_result("detection")
@dataclass(frozen=True, kw_only=True)
class DetectionResult(Result):
    """Objects in a picture, the surest first. found: see ``Detections``. task: what the classes are called, and their
    colours."""

    found: Detections
    task: DetectionTask

    @classmethod
    def of(cls, task: DetectionTask, picture: Picture, answer: Detections, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is what was found."""
        return cls(picture.pixels, source, seconds, picture.metadata, found=answer, task=task)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def boxes(self) -> np.ndarray:
        """float32 (n, 4): left, top, right, bottom in pixels of the picture."""
        return self.found.boxes

    @property
    def scores(self) -> np.ndarray:
        """float32 (n,), 0 to 1."""
        return self.found.scores

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,): indices of classes."""
        return self.found.labels

    @property
    def names(self) -> list[str]:
        """Of the class of each object."""
        return [self.task.classes[label] for label in self.labels]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their indices."""
        return self.task.classes

    def xywh(self) -> np.ndarray:
        """float64 (n, 4): left, top, width, height in pixels."""
        boxes = self.boxes.astype(np.float64)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)

    def select(self, classes: Collection[str] | None = None, threshold: float = 0.0, most: int | None = None) -> Self:
        """The same with fewer objects: of these classes only, of at least this score, the surest ``most``.

        ValueError for a name that is no class.
        """
        if unknown := [name for name in classes or () if name not in self.classes]:
            raise ValueError(f"no class is called {unknown[0]!r}; the classes are {', '.join(self.classes)}")
        kept = self.scores >= threshold
        if classes is not None:
            kept &= np.isin(self.labels, [self.classes.index(name) for name in classes])
        return replace(self, found=self.found[np.flatnonzero(kept)[:most]])

    def crops(self, margin: float = 0.0) -> list[np.ndarray]:
        """uint8 RGB pictures of each object, with a margin around it, a share of its sides."""
        boxes = self.boxes.astype(np.float64)
        grown = margin * (boxes[:, 2:] - boxes[:, :2])
        edge = np.array(self.image.shape[1::-1])
        low = np.clip(np.floor(boxes[:, :2] - grown), 0, edge - 1).astype(int)
        high = np.clip(np.ceil(boxes[:, 2:] + grown), low + 1, edge).astype(int)
        return [self.image[y0:y1, x0:x1].copy() for (x0, y0), (x1, y1) in zip(low, high, strict=True)]

    def drawn(self, names: bool = True, scores: bool = True) -> np.ndarray:
        """uint8 RGB (H, W, 3): the picture with the boxes in the classes' colours."""
        return draw_detections(self.image, self.found, self.task, scores, names)

    def objects(self) -> list[dict]:
        """Plain values of each object: class, index, score, box (x, y, width, height in pixels)."""
        return [{"class": name, "index": int(label), "score": round(float(score), 5),
                 "box": [round(v, 2) for v in box]}
                for name, label, score, box in zip(self.names, self.labels, self.scores, self.xywh().tolist(),
                                                   strict=True)]

    def to_dict(self) -> dict:
        """See ``Result.to_dict``. objects: see above, the surest first."""
        return {**super().to_dict(), "objects": self.objects()}

    def small(self, height: int) -> Self:
        """See ``Result.small``."""
        scale = height / self.image.shape[0]
        if scale >= 1:
            return self
        size = max(1, round(self.image.shape[1] * scale)), height
        factors = np.float32([size[0] / self.image.shape[1], size[1] / self.image.shape[0]] * 2)
        return replace(self, image=cv2.resize(self.image, size, interpolation=cv2.INTER_AREA),
                       found=replace(self.found, boxes=self.boxes * factors))

    def save(self, path: str | Path, names: bool = True, scores: bool = True) -> Path:
        """Write the picture with the boxes; see ``drawn``. Raises DenseError where the file cannot be written."""
        path = Path(path)
        write_bytes(path, self.encode(path.suffix, names, scores, str(path)))
        return path

    def encode(self, suffix: str, names: bool = True, scores: bool = True, name: str = "picture") -> bytes:
        """What ``save`` writes into a file of this suffix; name: for messages."""
        form = format_of(name if Path(name).suffix == suffix else f"{name}{suffix}")
        return encode_picture(self.drawn(names, scores), form, self.metadata, name=name)

    def panels(self) -> list[np.ndarray]:
        """Picture, picture with the boxes."""
        return [self.image, self.drawn()]
