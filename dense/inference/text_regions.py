"""Finding text: the detector that the package rapidocr holds, on ONNX Runtime; nothing is fetched.

Model: PP-OCR's text detector (DB: Liao et al., Real-time Scene Text Detection with Differentiable Binarization, AAAI
2020), by PaddlePaddle, Apache-2.0, converted and packed by RapidOCR. Its file alone is used, none of the package's
code.
"""
from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from dense.errors import MissingDependencyError

MULTIPLE = 32  # of the sides that the detector takes
THRESHOLD, SCORE = 0.3, 0.5  # of a pixel, and of a region's mean
UNCLIP = 1.6  # the detector is trained on shrunken regions; they grow by area * this / perimeter
SHORTEST = 3.0  # pixels of the detector's map


class TextDetector:
    """``mask(picture)``: where text is.

    shortest, longest: sides in pixels between which the picture is scaled for the detector; in very large pictures,
    which are shrunk, small text is missed.

    Raises MissingDependencyError without the packages of the extra 'text'.
    """

    def __init__(self, threads: int = 1, shortest: int = 736, longest: int = 2048):
        path = find_detector()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(f"finding text needs ONNX Runtime, which cannot be imported ({error}). "
                                         "Remedy: pip install 'dense[text]', or give --mask or --boxes") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.shortest, self.longest, self.name = shortest, longest, path.stem

    def polygons(self, picture: np.ndarray) -> list[np.ndarray]:
        """Rectangles at any angle around lines of text, float32 (4, 2) each, x and y in pixels of the picture, uint8
        RGB (H, W, 3)."""
        height, width = picture.shape[:2]
        scale = max(1.0, self.shortest / min(height, width))
        scale = min(scale, self.longest / max(height, width))
        size = tuple(max(MULTIPLE, round(s * scale / MULTIPLE) * MULTIPLE) for s in (width, height))
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        tensor = (resized[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        scores = self._session.run(None, {self._input: np.ascontiguousarray(tensor)})[0][0, 0]
        factor = np.float32([width / size[0], height / size[1]])
        return [box * factor for box in text_boxes(scores)]

    def mask(self, picture: np.ndarray) -> np.ndarray:
        """uint8 (H, W): 255 where text is."""
        mask = np.zeros(picture.shape[:2], np.uint8)
        for polygon in self.polygons(picture):
            cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 255)
        return mask


def text_boxes(scores: np.ndarray) -> list[np.ndarray]:
    """Rectangles float32 (4, 2), x and y, around the regions of a map of scores, float (h, w) in 0..1."""
    contours, _ = cv2.findContours((scores > THRESHOLD).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in contours:
        centre, (w, h), angle = cv2.minAreaRect(contour)
        if min(w, h) < SHORTEST or _mean_inside(scores, contour) < SCORE:
            continue
        grown = 2 * w * h * UNCLIP / (2 * (w + h))
        boxes.append(cv2.boxPoints((centre, (w + grown, h + grown), angle)))
    return boxes


def _mean_inside(scores: np.ndarray, contour: np.ndarray) -> float:
    x, y, w, h = cv2.boundingRect(contour)
    inside = cv2.drawContours(np.zeros((h, w), np.uint8), [contour - (x, y)], -1, 1, cv2.FILLED)
    return float(cv2.mean(np.ascontiguousarray(scores[y:y + h, x:x + w]), inside)[0])


def find_detector() -> Path:
    """The detector's file in the package rapidocr, which is not imported."""
    spec = importlib.util.find_spec("rapidocr")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("models/*det*.onnx")):
            return path
    state = "holds no detector" if spec else "is not installed"
    raise MissingDependencyError(f"finding text needs the package rapidocr, which {state}. Remedy: pip install "
                                 "'dense[text]', or give --mask or --boxes")
