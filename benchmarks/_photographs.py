"""Photographs for benchmarks, from packages fetched by name: 24 of 0.3 to 6 megapixels, the same every time."""
from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
from _common import ROOT

from dense.errors import DatasetError

FOLDER = ROOT / ".peers" / "photographs"
PACKAGES = {"lomiri": "lomiri-wallpapers-16.04", "opencv": "opencv-doc"}
_LOMIRI, _OPENCV = "usr/share/backgrounds", "usr/share/doc/opencv-doc/examples"
# file below the packages, megapixels that it is shrunk to (None: as it is)
PICTURES = (
    *((f"lomiri/{_LOMIRI}/{name}.jpg", megapixels) for name, megapixels in (
        ("Bridge_by_Sander_Klootwijk", 6.0), ("Dragonfly_by_Bolly", 6.0), ("Picture_0B_by_freespace", 4.0),
        ("Picture_1A_by_freespace", 1.4), ("Wine_by_Jakkub_Mede", 5.0), ("aitzgorri_by_Aitzol_Berasategi", 4.5),
        ("free_by_Peter_Nerlich", 3.5), ("friends_by_Aitzol_Berasategi", 3.0), ("greentock_by_Peter_Nerlich", 2.5),
        ("life_by_Aitzol_Berasategi", 2.1), ("picosdeeuropa_by_Aitzol_Berasategi", 1.8),
        ("seeding_by_Clements_Engelhardt", 6.0), ("sunset_by_Aitzol_Berasategi", 1.0),
        ("umang_by_Abhishek_Mudgal", 0.7))),
    *((f"opencv/{_OPENCV}/{name}.jpg", None) for name in (
        "data/aloeL", "data/building", "data/leuvenA", "data/stuff", "text/scenetext01", "text/scenetext02",
        "text/scenetext03", "text/scenetext04", "text/scenetext05")),
    ("skimage/skimage/data/motorcycle_left.png", None))


def photographs() -> Path:
    """The folder of the 24 JPEGs, made if it is not there. Raises DatasetError where a package cannot be fetched."""
    done = FOLDER / ".done"
    if done.exists():
        return FOLDER
    shutil.rmtree(FOLDER, ignore_errors=True)
    sources = FOLDER.with_name("photograph_sources")
    sources.mkdir(parents=True, exist_ok=True)
    _fetch(sources)
    FOLDER.mkdir()
    for name, megapixels in PICTURES:
        image = cv2.imread(str(sources / name))
        if image is None:
            raise DatasetError(f"{sources / name}: is not in the package any more; change the list in {__file__}")
        if megapixels:
            scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(FOLDER / f"{Path(name).stem}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    done.touch()
    return FOLDER


def _fetch(folder: Path) -> None:
    for name, package in PACKAGES.items():
        if not (folder / name).exists():
            _run(["apt-get", "download", "-q", package], folder)
            (archive,) = folder.glob(f"{package}_*.deb")
            _run(["dpkg-deb", "-x", archive.name, f"{name}.part"], folder)
            (folder / f"{name}.part").rename(folder / name)
    if not (folder / "skimage").exists():
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", "scikit-image==0.26.0"], folder)
        (wheel,) = folder.glob("scikit_image-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract("skimage/data/motorcycle_left.png", folder / "skimage")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DatasetError(f"{' '.join(command)}: failed ({(done.stderr or done.stdout).strip()[-200:]}); the "
                           "photographs come from Debian's and PyPI's packages (apt-get update first?)")
