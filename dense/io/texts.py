"""Pictures with text, the same without, and where the text is: the layouts of published sets."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dense.errors import DatasetError, ImageError
from dense.io.images import list_images, read_image, read_mask

CHANGED = 20  # by how much a pixel of a text differs from the clean picture; compression differs by less

# names of folders in use, the first that is there counts
NAMES = {
    "image": ("all_images", "images", "image", "imgs", "img", "input", "im"),
    "clean": ("all_labels", "labels", "label", "clean", "target", "background", "bg"),
    "boxes": ("all_gts", "gts", "txt", "boxes", "gt"),
    "mask": ("masks", "mask"),
}
LAYOUT = """\
  {root}[/SPLIT]/
    all_images/*.jpg    pictures with text (also images, image, img, input)
    all_labels/*.jpg    the same without it (also labels, label, clean, target)
    all_gts/*.txt       x1,y1,...,x4,y4[,text] a line (also gts, txt, boxes); or
    masks/*.png         white where text is (also mask); or neither: text is where the two pictures differ"""


@dataclass(frozen=True)
class EraseFiles:
    """Files of one picture: with text, without, and where the text is (a .txt of boxes, a mask, or None)."""

    image: Path
    clean: Path
    where: Path | None = None

    @property
    def name(self) -> str:
        return self.image.stem


def find_files(root: str | Path, split: str | None = None) -> list[EraseFiles]:
    """The pictures of a data set in the layout of SCUT-EnsText, SCUT-Syn or Oxford's synthetic text.

    Raises DatasetError that says where was looked, and which pictures have no clean version.
    """
    folder = Path(root) / (split or "")
    expected = f"Expected:\n{LAYOUT.format(root=root)}"
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder. {expected}")
    found = {kind: next((folder / n for n in names if (folder / n).is_dir()), None) for kind, names in NAMES.items()}
    if found["image"] is None or found["clean"] is None:
        lacks = "pictures with text" if found["image"] is None else "clean pictures"
        raise DatasetError(f"{folder}: there is no folder of {lacks}. {expected}")
    clean = {p.stem: p for p in list_images(found["clean"])}
    masks = {p.stem: p for p in list_images(found["mask"])} if found["mask"] else {}
    boxes = {re.sub(r"^gt_", "", p.stem): p for p in sorted(found["boxes"].glob("*.txt"))} if found["boxes"] else {}
    images = list_images(found["image"])
    if lone := [p for p in images if p.stem not in clean]:
        raise DatasetError(f"{folder}: {len(lone)} pictures have no clean version in {found['clean'].name}, "
                           f"{lone[0].name} first. Remedy: add them, or take these away")
    if not images:
        raise DatasetError(f"{found['image']}: holds no picture. {expected}")
    return [EraseFiles(p, clean[p.stem], boxes.get(p.stem) or masks.get(p.stem)) for p in images]


def load_texts(files: EraseFiles) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Picture and clean picture, uint8 RGB (H, W, 3), and polygons int32 (n, 2), x and y, around each text.

    Raises ImageError for files that cannot be read or differ in size, DatasetError for boxes that are none.
    """
    image, clean = read_image(files.image), read_image(files.clean)
    if image.shape != clean.shape:
        raise ImageError(f"{files.clean}: has {clean.shape[1]} x {clean.shape[0]} pixels, {files.image} "
                         f"{image.shape[1]} x {image.shape[0]}; replace the one that is wrong")
    if files.where is None:
        return image, clean, parts_of(changed(image, clean))
    if files.where.suffix.lower() == ".txt":
        return image, clean, read_boxes(files.where)
    return image, clean, parts_of(read_mask(files.where) > 127)


def read_boxes(path: Path) -> list[np.ndarray]:
    """Polygons of a file with x1,y1,x2,y2,... a line (with two corners: a rectangle), and perhaps a text behind.

    Raises DatasetError that names the line.
    """
    polygons = []
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = re.match(r"\s*((?:-?\d+(?:\.\d+)?\s*[,\s]\s*)*-?\d+(?:\.\d+)?)", line)
        values = [float(v) for v in re.split(r"[,\s]+", found[1])] if found else []
        if len(values) in (4, 5):
            x1, y1, x2, y2 = values[:4]
            values = [x1, y1, x2, y1, x2, y2, x1, y2]
        elif len(values) in (9, 11):  # eight numbers, and figures for a text
            values = values[:8]
        if len(values) < 6 or len(values) % 2:
            raise DatasetError(f"{path}, line {number}: {line.strip()[:60]!r} is no box; give x1,y1,...,x4,y4 a line")
        polygons.append(np.rint(np.reshape(values, (-1, 2))).astype(np.int32))
    return polygons


def changed(image: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """bool (H, W): where two pictures differ by more than compression does."""
    return cv2.absdiff(np.ascontiguousarray(image), np.ascontiguousarray(clean)).max(2) > CHANGED


def parts_of(mask: np.ndarray) -> list[np.ndarray]:
    """Hulls of the parts of a mask bool (H, W), those that are near to each other together; specks are left out."""
    joined = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 15), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [cv2.convexHull(c)[:, 0] for c in contours if cv2.contourArea(c) >= 20]
