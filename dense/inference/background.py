"""What is put behind a cut-out: a colour, a picture, or the blurred surroundings."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageColor

from dense.errors import ConfigError
from dense.io import picture_from_array, picture_from_pillow, read_image
from dense.io.images import over_white

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "green": (0, 177, 64)}
_ROWS = 1 << 18  # pixels handled at once, so that float temporaries stay small

Background = str | Path | Sequence[int] | np.ndarray


def background_of(value: Background | None) -> Background | None:
    """A background that is ready to be used many times: a colour (R, G, B), a picture, 'blur', or None.

    value: None or 'none', a colour's name (CSS's; 'green' is that of screens), '#rrggbb' or '#rgb', three numbers
    0..255, 'blur', a picture's path, Pillow's picture, or an array uint8 RGB (H, W, 3). Raises ConfigError for anything
    else, ImageError for an unreadable file.
    """
    if value is None or (isinstance(value, str) and value.lower() in ("none", "blur")):
        return value.lower() if value and value.lower() == "blur" else None
    if isinstance(value, np.ndarray) and value.ndim >= 2:
        return over_white(value) if value.ndim == 3 and value.shape[2] == 4 and value.dtype == np.uint8 else \
            picture_from_array(value, "background").pixels
    if hasattr(value, "getexif"):
        return picture_from_pillow(value, "background").pixels
    if isinstance(value, str | Path):
        text = str(value)
        if text.lower() in COLOURS:
            return COLOURS[text.lower()]
        if re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
            digits = text[1:] if len(text) == 7 else "".join(2 * c for c in text[1:])
            return tuple(bytes.fromhex(digits))
        if (named := ImageColor.colormap.get(text.lower())) and not Path(text).exists():
            return ImageColor.getrgb(named)[:3]
        if text.startswith("#") or not text or not Path(text).exists():
            raise ConfigError(f"background {text!r} is neither a colour nor a file. Remedy: none, blur, #rrggbb, "
                              f"{', '.join(COLOURS)} or another colour's name, or the path of a picture")
        return read_image(text)
    colour = tuple(value) if isinstance(value, Iterable) else ()
    if len(colour) != 3 or not all(isinstance(v, Real) and int(v) == v and 0 <= v <= 255 for v in colour):
        raise ConfigError(f"background {value!r} is no colour. Remedy: three whole numbers 0..255 (R, G, B)")
    return tuple(int(v) for v in colour)


def put_over(image: np.ndarray, alpha: np.ndarray, background: Background,
             foreground: np.ndarray | None = None) -> np.ndarray:
    """uint8 RGB (H, W, 3): foreground * alpha + background * (1 - alpha), rounded.

    image: uint8 RGB (H, W, 3). alpha: float32 (H, W), 0..1. background: as ``background_of`` returns it; a picture is
    scaled to cover, its middle shown. foreground: uint8 RGB (H, W, 3), its colours; None takes the picture's own.
    """
    if isinstance(background, str):
        ground = _blurred(image, alpha)
    elif isinstance(background, np.ndarray):
        ground = _covering(background, *alpha.shape)
    else:
        ground = np.broadcast_to(np.array(background, np.uint8), image.shape)
    foreground = image if foreground is None else foreground
    out = np.empty_like(image)
    rows = max(1, _ROWS // image.shape[1])
    for top in range(0, len(image), rows):
        part = slice(top, top + rows)
        behind = ground[part].astype(np.float32)
        out[part] = np.rint(behind + alpha[part, :, None] * (foreground[part] - behind))
    return out


def _covering(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    scale = max(height / picture.shape[0], width / picture.shape[1])
    h, w = min(picture.shape[0], round(height / scale)) or 1, min(picture.shape[1], round(width / scale)) or 1
    y, x = (picture.shape[0] - h) // 2, (picture.shape[1] - w) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture[y:y + h, x:x + w]), (width, height), interpolation=how)


def _blurred(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The surroundings out of focus; the subject has no share in them, or it would shine around its outline.

    Worked out on a small copy: there is nothing sharp in it.
    """
    height, width = alpha.shape
    scale = min(1.0, 256 / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = 1 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)[..., None]
    sigma = max(size) / 40
    colours = cv2.GaussianBlur(small * share, (0, 0), sigma)
    shares = cv2.GaussianBlur(share, (0, 0), sigma)[..., None]
    wide = cv2.GaussianBlur(small, (0, 0), sigma)  # far inside the subject no surroundings are in reach
    blurred = (colours.reshape(small.shape) + 1e-3 * wide.reshape(small.shape)) / (shares + 1e-3)
    return cv2.resize(np.clip(np.rint(blurred), 0, 255).astype(np.uint8), (width, height),
                      interpolation=cv2.INTER_LINEAR)
