"""Label pictures: the class of every pixel as its value, its palette index or its colour."""
from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from dense.errors import ImageError
from dense.io.classes import ClassList
from dense.io.decode import Decoded, Source, decode, open_pillow, open_source
from dense.io.images import MAX_PIXELS, MaskFormError

_LOSSY = ("JPEG", "WEBP", "AVIF", "JPEG2000")


class LabelValueError(ImageError):
    """A label picture with values that are no class; ``counts``: pixels by value or colour."""

    def __init__(self, message: str, counts: dict):
        super().__init__(message)
        self.counts = counts


def read_labels(source: Source, classes: ClassList, ignore_index: int = 255, *, name: str | None = None,
                max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a label picture to the index of each pixel's class: uint8 (H, W), uint16 with more than 255 classes.

    - Grey files of 8 or 16 bits, and colour files whose channels agree: their values are the ids of the class list.
    - Palette files: their indices are, whatever the colours.
    - Other colour files: the colours of the class list.

    ignore_index: what pixels get that have no class. name: for messages, of bytes.

    Raises:
        LabelValueError: values or colours that the class list does not have, with the number of pixels of each.
        MaskFormError: a lossy format, transparency, colours without any in the class list, or values 0 and 255 where
            two classes would be 0 and 1.
        ImageError: missing, unreadable, truncated or no picture.
    """
    decoded = _decode_indices(source, max_pixels)
    name = name or decoded.name
    if decoded.format in _LOSSY:
        raise MaskFormError(f"{name}: labels in {decoded.format}, which changes values. Remedy: make them PNG again "
                            "from the original labels")
    values = decoded.pixels
    if values.ndim == 3 and values.shape[2] == 4:
        if int(values[..., 3].min()) < 255:
            raise MaskFormError(f"{name}: labels with transparency. Remedy: save them without it, as 8-bit grey")
        values = values[..., :3]
    if values.ndim == 3 and (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
        values = values[..., 0]
    if values.ndim == 3:
        return _by_colour(values, classes, ignore_index, name)
    return _by_value(values, classes, ignore_index, name)


def _decode_indices(source: Source, max_pixels: int) -> Decoded:
    """As ``decode``, but palette indices in place of colours, and 0 and 1 of 1-bit files."""
    with open_source(source) as (name, file, kind):
        image = open_pillow(file, kind, name)
        mode = getattr(image, "mode", None)
        if mode not in ("P", "1") or image.size[0] * image.size[1] > max_pixels:
            mode = None
        else:
            try:
                pixels = np.array(image, np.uint8)
            except MemoryError:
                raise
            except Exception as error:  # decoders raise anything on damaged data
                problem = f"the {kind} is truncated or damaged ({error})"
                raise ImageError(f"{name}: {problem}. Remedy: copy or download it again") from None
    return decode(source, max_pixels) if mode is None else Decoded(pixels, kind, name)


def _by_value(values: np.ndarray, classes: ClassList, ignore_index: int, name: str) -> np.ndarray:
    counts = np.bincount(values.ravel(), minlength=256)
    present = np.flatnonzero(counts)
    table = np.full(65536 if values.dtype == np.uint16 else 256, -1, np.int32)
    table[[i for i in classes.ignored if i < len(table)]] = ignore_index
    for index, value in enumerate(classes.ids):
        if value < len(table):
            table[value] = index
    strange = {int(v): int(counts[v]) for v in present if table[v] < 0}
    if strange:
        raise _strange(name, {str(v): n for v, n in strange.items()}, classes, "9 ignore", strange)
    if len(classes.ids) == 2 and 255 in present and 255 not in classes.ids and set(present) <= {0, 255}:
        raise MaskFormError(f"{name}: a mask of 0 and 255, but 255 means 'no label': {classes.describe()}. "
                            f"Remedy: give the foreground the id 255 in {classes.origin}")
    return table[values].astype(_dtype(classes, ignore_index))


def _by_colour(pixels: np.ndarray, classes: ClassList, ignore_index: int, name: str) -> np.ndarray:
    if classes.colours is None:
        raise MaskFormError(f"{name}: a colour mask, but {classes.origin} gives no colours. Remedy: add them, such as "
                            "'7 car #00008e', or save the labels as 8-bit grey or palette")
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    present, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    known = {(r << 16) + (g << 8) + b: index for index, (r, g, b) in enumerate(classes.colours)}
    known |= {(r << 16) + (g << 8) + b: ignore_index for r, g, b in classes.ignored_colours}
    strange = {f"#{v:06x}": int(n) for v, n in zip(present, counts, strict=True) if int(v) not in known}
    if strange:
        raise _strange(name, strange, classes, "9 ignore #000000", strange)
    table = np.array([known[int(v)] for v in present], _dtype(classes, ignore_index))
    return table[inverse].reshape(packed.shape)


def _strange(name: str, shown: dict[str, int], classes: ClassList, example: str, counts: dict) -> LabelValueError:
    most = sorted(shown.items(), key=lambda item: -item[1])
    text = ", ".join(f"{value} ({count} pixel{'s' * (count != 1)})" for value, count in most[:8])
    more = f" and {len(most) - 8} more" if len(most) > 8 else ""
    return LabelValueError(
        f"{name}: {'colours' if example.endswith('0') else 'values'} that are no class: {text}{more}; the classes are "
        f"{classes.describe()}. Remedy: correct the file, or add them to {classes.origin}, as classes or to be ignored "
        f"({example!r})", counts)


def _dtype(classes: ClassList, ignore_index: int) -> type:
    return np.uint8 if len(classes.ids) <= 256 and ignore_index <= 255 else np.uint16


def label_png(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """A PNG whose values are ``labels`` (H, W): 8-bit with the colours of ``palette``, 16-bit grey above 255."""
    from PIL import Image

    if labels.max(initial=0) > 255:
        image = Image.fromarray(labels.astype(np.uint16))
    else:
        image = Image.fromarray(labels.astype(np.uint8))
        # all 256 colours: with fewer, Pillow writes fewer bits, and cuts the values to them
        image.putpalette([v for colour in palette for v in colour] + [0] * (768 - 3 * len(palette)))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
