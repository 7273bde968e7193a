"""A data set of a few small pictures in COCO's layout: bright rectangles of two kinds on a dark ground."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dense.io import write_image

CLASSES = {"light": 3, "red": 7}  # name -> category id, with a gap as in COCO


def draw(seed: int, size: tuple[int, int] = (60, 80)) -> tuple[np.ndarray, list[tuple]]:
    """uint8 RGB picture, and (class, x, y, width, height) of what is in it."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (*size, 3), dtype=np.uint8)
    objects = []
    for name in list(CLASSES)[:1 + seed % 2] if seed % 2 else ["red"]:
        half = size[1] // 2  # one kind in each half, so that none hides the other
        width, height = int(rng.integers(12, half - 4)), int(rng.integers(12, 25))
        x = int(rng.integers(0, half - width)) + (0 if name == "light" else half)
        y = int(rng.integers(0, size[0] - height))
        image[y:y + height, x:x + width] = (240, 240, 240) if name == "light" else (220, 20, 20)
        objects.append((name, x, y, width, height))
    return image, objects


def make_coco(root: Path, split: str = "val", count: int = 3, first: int = 0) -> dict:
    """Write pictures and annotations of a split; returns the annotations."""
    content = {"images": [], "annotations": [], "categories": [{"id": i, "name": n} for n, i in CLASSES.items()]}
    (root / split).mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        image, objects = draw(index)
        write_image(root / split / f"{index:03}.png", image)
        content["images"].append({"id": index, "file_name": f"{index:03}.png", "height": 60, "width": 80})
        for name, *box in objects:
            content["annotations"].append({"id": len(content["annotations"]) + 1, "image_id": index, "iscrowd": 0,
                                           "category_id": CLASSES[name], "bbox": box, "area": box[2] * box[3]})
    save_annotations(root, split, content)
    return content


def save_annotations(root: Path, split: str, content: dict) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
