"""Objects of the detection set by class: photographs with alpha, or drawings of the same classes; each in one split.

Photographs: Debian's tuxpaint-stamps-default, GPL-2 or later, so that pictures made of them are, too. Those of it whose
origin is under the GFDL are left out. Drawings: Fluent emoji, MIT; the bundled pictures are made of them.
"""
from __future__ import annotations

from pathlib import Path

import _cutout_sources as sources
import cv2
import numpy as np

from dense.errors import DatasetError

CLASSES = ("bird", "fish", "insect", "mammal", "fruit", "flower", "tool", "vehicle")
KINDS = ("photographs", "drawings")
SPLITS = ("train", "val")
PACKAGE = "tuxpaint-stamps-default"
SOURCES = {
    "photographs": sources.Source(
        "Debian package tuxpaint-stamps-default 2022.06.04 (photographs cut out for Tux Paint)", "GPL-2.0-or-later",
        "2002-2022 Bill Kendrick and the contributors that the package's changelog names", "objects (scaled, turned)"),
    "drawings": sources.SOURCES["fluent-emoji"],
}

# how far objects of a class may be turned, in degrees
TURN = {"bird": 15, "fish": 40, "insect": 180, "mammal": 12, "fruit": 180, "flower": 180, "tool": 180, "vehicle": 8}

_STAMPS = {
    "train": {
        "bird": ("animals/birds", "adelaide-rosella blackbird chicken_profile crowned_crane cuckoo drake "
                 "gander guineafowl heron_greatblue lark little-penguin magpie nandou owl peacock pelican pigeon "
                 "pink_flamingo quetzal rooster silver-gull tucan turkey"),
        "fish": ("animals/fish", "bluegroper butterflyfish coraltrout lionfish stripedfish seahorse"),
        "insect": ("animals/insects", "fly grasshopper hoverfly mantis xanthia"),
        "mammal": ("animals", "mammals/badger mammals/elephant mammals/ferret mammals/hippopotamus mammals/pig "
                   "mammals/pig_golden mammals/rabbit_little mammals/rhino_black marsupials/kangaroo "
                   "marsupials/wombat mammals/echidna"),
        "fruit": ("food/fruit", "apple_fuji apple_green apple_sierra_beauty apricot avocado banana cherimoya grapes "
                  "kiwi mandarine mango orange_seville pineapple raspberry strawberry"),
        "flower": ("plants/flowers", "adeenia anemone_red anthoorium bolsom chemparathi flower1 flower10 flower2 "
                   "flower3 flower5 flower6 flower7 flower9 marigold pigface red-gazania whitestar-petunia"),
        "tool": ("household", "tools/hammer tools/plyers tools/saw tools/wrench tools/wrench_plumbers "
                 "arttools/scissors_small_open tools/paintbrush_large"),
        "vehicle": ("vehicles", "auto/sedan auto/sportscar2 emergency/firetruck race/indycar construction/dumper"),
    },
    "val": {
        "bird": ("animals/birds", "crow duck hen magellanic_penguin ostrich rainbow-lorikeet "
                 "seagull vulture heron_greatblue_flying"),
        "fish": ("animals/fish", "clownfish dolphinfish moonwrasse"),
        "insect": ("animals/insects", "bee hornet"),
        "mammal": ("animals", "mammals/giraffe mammals/pig_golden2 mammals/wildboar marsupials/koala"),
        "fruit": ("food/fruit", "apple_granny_smith apple_red lemon orange pear pomegranate"),
        "flower": ("plants/flowers", "daffodil flower4 flower8 iris rose yellow-flower"),
        "tool": ("household", "tools/mallet_metal tools/wrench_adjustable arttools/scissors_small_closed tools/spade"),
        "vehicle": ("vehicles", "auto/truck masstransit/green_korean_bus"),
    },
}
_EMOJI = {
    "train": {
        "bird": "owl rooster swan peacock flamingo duck turkey dove dodo", "fish": "tropical-fish blowfish",
        "insect": "ant honeybee cricket mosquito butterfly beetle",
        "mammal": "elephant camel goat zebra horse kangaroo hippopotamus deer ram pig ox tiger dog rabbit badger skunk",
        "fruit": "grapes cherries pineapple red-apple pear tangerine mango banana kiwi-fruit strawberry blueberries",
        "flower": "sunflower tulip hibiscus cherry-blossom hyacinth", "tool": "wrench hammer axe carpentry-saw clamp",
        "vehicle": "racing-car motorcycle tractor delivery-truck bus taxi automobile pickup-truck fire-engine",
    },
    "val": {
        "bird": "parrot eagle penguin bird goose", "fish": "fish shark", "insect": "lady-beetle fly cockroach",
        "mammal": "giraffe moose rhinoceros llama cow leopard cat raccoon", "fruit": "green-apple peach lemon melon",
        "flower": "rose blossom lotus", "tool": "pick screwdriver scissors",
        "vehicle": "articulated-lorry trolleybus sport-utility-vehicle ambulance police-car",
    },
}


def names_of(kind: str, split: str) -> dict[str, list[str]]:
    """Class -> names of objects."""
    if kind == "drawings":
        return {c: _EMOJI[split][c].split() for c in CLASSES}
    return {c: [f"{folder}/{name}" for name in listed.split()] for c, (folder, listed) in _STAMPS[split].items()}


def fetch_photographs(root: Path) -> None:
    """The package's files into root/tuxpaint-stamps-default (skips what is there; needs apt-get and dpkg-deb)."""
    folder = root / PACKAGE
    if (folder / ".done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sources._run(["apt-get", "download", "-q", PACKAGE], folder)  # an empty index: run apt-get update
    archive = sources._one(folder, "*.deb")
    sources._run(["dpkg-deb", "-x", archive.name, "."], folder)
    archive.unlink()
    (folder / ".done").touch()


class Objects:
    """Objects as straight RGBA uint8 (h, w, 4), cut to what is visible."""

    def __init__(self, root: Path, kinds: tuple[str, ...]):
        self.root = root
        self._draw = sources.EmojiRenderer(root) if "drawings" in kinds else None

    def __call__(self, kind: str, name: str) -> np.ndarray:
        if kind == "drawings":
            return _trim(self._draw(name, 320), name)
        path = self.root / PACKAGE / "usr/share/tuxpaint/stamps" / f"{name}.png"
        rgba = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if rgba is None:
            raise DatasetError(f"{path}: is not there, or no picture; delete {self.root / PACKAGE} and run again")
        if rgba.ndim != 3 or rgba.shape[2] != 4:
            raise DatasetError(f"{path}: has no transparency; take it off the list")
        return _trim(cv2.cvtColor(rgba, cv2.COLOR_BGRA2RGBA), name)


def _trim(rgba: np.ndarray, name: str) -> np.ndarray:
    if rgba.dtype != np.uint8 or not (rgba[..., 3] > 127).any():
        raise DatasetError(f"'{name}' has nothing to see; take it off the list")
    ys, xs = np.nonzero(rgba[..., 3] > 8)
    return rgba[ys.min():ys.max() + 1, xs.min():xs.max() + 1]
