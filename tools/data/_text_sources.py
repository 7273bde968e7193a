"""Fonts and photographs that texts are trained on: packages by name, and which of them are held out.

No font family and no photograph is in both parts.
"""
from __future__ import annotations

import shutil
from pathlib import Path

import _cutout_sources as sources
import cv2

from dense.errors import DatasetError

# ruff: noqa: SIM905 (a list of names reads better so)
FONTS = {  # Debian packages of free fonts; their licences are kept beside them
    "train": ("fonts-liberation fonts-open-sans fonts-roboto-unhinted fonts-cantarell fonts-comfortaa "
              "fonts-crosextra-caladea fonts-dancingscript fonts-linuxlibertine fonts-lobster fonts-oldstandard "
              "fonts-vlgothic fonts-noto-core fonts-lato fonts-inconsolata fonts-play fonts-yanone-kaffeesatz "
              "fonts-hosny-amiri fonts-nanum fonts-wqy-zenhei").split(),
    "val": ("fonts-hack fonts-ebgaramond fonts-quicksand fonts-crosextra-carlito fonts-sil-gentium-basic fonts-sora "
            "fonts-ipafont-gothic fonts-sil-scheherazade fonts-tuffy fonts-go").split(),
}
# beside those of the cut-outs; CC0 or public domain, as the file README.txt beside them says
MORE = {"train": ("coffee.png", "chelsea.png", "rocket.jpg"), "val": ("astronaut.png",)}
_SKI = "skimage/data/"
_SUFFIXES = (".ttf", ".otf", ".ttc")


def fetch_fonts(root: Path, cache: Path) -> None:
    """Fonts of both parts into root/PART/fonts/PACKAGE/, their licences beside them (needs apt-get and dpkg-deb)."""
    for part, packages in FONTS.items():
        for package in packages:
            folder = root / part / "fonts" / package
            if (folder / "copyright").exists():
                continue
            work = cache / "debian" / package
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            sources._run(["apt-get", "download", "-q", package], work)
            sources._run(["dpkg-deb", "-x", sources._one(work, "*.deb").name, "."], work)
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(work.rglob("*")):
                if path.suffix.lower() in _SUFFIXES and path.is_file() and not path.is_symlink():
                    shutil.copy(path, folder / path.name)
            notice = work / "usr/share/doc" / package / "copyright"
            if not any(folder.iterdir()) or not notice.is_file():
                raise DatasetError(f"{package}: holds no font, or no licence; choose another package")
            shutil.copy(notice.resolve(), folder / "copyright")
            shutil.rmtree(work)


def write_backgrounds(root: Path, cache: Path) -> None:
    """The photographs of both parts into root/PART/backgrounds/."""
    sources.fetch(cache, names=("pmndrs-assets", "scikit-image", "lomiri", "opencv-doc"))
    for part, listed in sources.BACKGROUNDS.items():
        folder = root / part / "backgrounds"
        folder.mkdir(parents=True, exist_ok=True)
        for source, member in [*listed, *(("scikit-image", _SKI + name) for name in MORE[part])]:
            picture = sources.load_background(cache, source, member)
            name = f"{source}-{Path(member).name.split('.')[0]}.png"
            if not cv2.imwrite(str(folder / name), picture[..., ::-1]):
                raise DatasetError(f"{folder / name}: cannot be written; check the disk")
