#!/usr/bin/env python3
"""Make data/mni152: tissues of the MNI152 template, in nnU-Net's layout, for configs/stunet_mni152.py.

    python tools/data/make_mni152.py            fetches the wheel of nilearn (13 MB, pip), writes about 5 MB
    python tools/data/make_mni152.py --colin    and Colin27 without labels into imagesTs (Debian's mricron-data, 16 MB)

The wheel holds the T1 of the ICBM 2009a template (1 mm, without skull) and maps of grey and white matter. Labels: 2
grey and 3 white where the two maps together are at least one half, the larger one; 1 fluid elsewhere in the brain,
which is fluid and what lies between tissue and fluid; 0 outside.

There is one brain, the average of 152. It is symmetric to the last bit (T1 and maps equal their mirror image), so that
its halves are no two parts. Parts are instead cut across: 40 mm (y from -50 to -10 mm) are validated on, 5 mm on either
side count in neither, the rest is trained on. Both cases are the whole volume; what does not count has the label 4,
'ignore'. So the network sees the values, not the labels, of the part that it is validated on, around its patches.
"""
import argparse
import json
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_sources as sources
import numpy as np

from dense.errors import DatasetError, DenseError
from dense.io import write_text
from dense.io.volume import Volume, read_volume, write_labels, write_values

WHEEL = "nilearn==0.12.1"
MAPS = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
LABELS = {"background": 0, "fluid": 1, "grey": 2, "white": 3, "ignore": 4}
HELD_OUT, GAP = (-50.0, -10.0), 5.0  # mm along y
NOTICE = """\
T1 and tissue maps: ICBM 152 nonlinear template 2009a, as in the wheel of nilearn 0.12.1 (BSD-3-Clause, which does not
cover the template; nilearn's documents state its licence as unknown). Its makers' notice, as BrainImAccs/fatbACPC
quotes it (templates/README.md) from the page of these templates, for release 2009c:

Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
University make no representations about the suitability of this software for any purpose. It is provided "as is"
without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property loss,
or injury to subjects or patients resulting from the use or misuse of this software package.

Labels: made of the maps by tools/data/make_mni152.py. Colin27 (imagesTs/colin27, if it is there): ch2bet.nii.gz of
Debian's mricron-data, BSD-3-Clause by its copyright file.
"""


def fetch_maps(cache: Path) -> dict[str, Volume]:
    """'t1', 'gm' and 'wm' of the wheel, which pip fetches."""
    folder = cache / "nilearn"
    files = {name: folder / MAPS.format(name) for name in ("t1", "gm", "wm")}
    if not all(f.is_file() for f in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        sources._run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", WHEEL], folder)
        archive = sources._one(folder, "*.whl")
        try:
            with zipfile.ZipFile(archive) as wheel:
                for name in files:
                    wheel.extract(MAPS.format(name), folder)
        except (KeyError, zipfile.BadZipFile) as problem:
            raise DatasetError(f"{archive}: is not the wheel that was expected ({problem}). Remedy: delete it and run "
                               "again") from None
        archive.unlink()
    return {name: read_volume(path) for name, path in files.items()}


def fetch_colin(cache: Path) -> Volume:
    """Colin27 without skull (needs apt-get and dpkg-deb)."""
    folder = cache / "mricron-data"
    if not list(folder.rglob("ch2bet.nii.gz")):
        folder.mkdir(parents=True, exist_ok=True)
        sources._run(["apt-get", "download", "-q", "mricron-data"], folder)
        archive = sources._one(folder, "*.deb")
        sources._run(["dpkg-deb", "-x", archive.name, "."], folder)
        archive.unlink()
    return read_volume(sources._one(folder, "usr/share/mricron/templates/ch2bet.nii.gz"))


def label_tissues(t1: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """uint8 labels of uint8 arrays of one shape; the maps are 255 where there is nothing but that tissue."""
    tissue = grey.astype(np.uint16) + white >= 128
    return np.where(tissue, np.where(white > grey, 3, 2), t1 > 0).astype(np.uint8)


def keep_part(labels: np.ndarray, affine: np.ndarray, held_out: bool) -> np.ndarray:
    """Labels (Z, Y, X) with all but one part ignored; the affine must not turn axes."""
    y = affine[1, 1] * np.arange(labels.shape[1]) + affine[1, 3]
    inside = (y >= HELD_OUT[0]) & (y < HELD_OUT[1])
    near = (y >= HELD_OUT[0] - GAP) & (y < HELD_OUT[1] + GAP)
    kept = inside if held_out else ~near
    return np.where(kept[None, :, None], labels, LABELS["ignore"]).astype(np.uint8)


def write_set(out: Path, maps: dict[str, Volume]) -> dict[str, dict[str, int]]:
    """Write the data set; voxels by case and class."""
    t1 = maps["t1"]
    labels = label_tissues(t1.values[0], maps["gm"].values[0], maps["wm"].values[0])
    counts = {}
    for name, held_out in (("mni152_train", False), ("mni152_val", True)):
        part = keep_part(labels, t1.affine, held_out)
        write_values(out / "imagesTr" / f"{name}_0000.nii.gz", t1.values[0], t1)
        write_labels(out / "labelsTr" / f"{name}.nii.gz", part, t1)
        counts[name] = {k: int((part == v).sum()) for k, v in LABELS.items()}
    write_text(out / "splits_final.json", json.dumps([{"train": ["mni152_train"], "val": ["mni152_val"]}], indent=1))
    write_text(out / "NOTICE.txt", NOTICE)
    write_text(out / "dataset.json", json.dumps({
        "name": "MNI152 tissues", "description": "fluid, grey and white matter of an average of 152 brains",
        "channel_names": {"0": "T1"}, "labels": LABELS, "numTraining": 2, "file_ending": ".nii.gz"}, indent=1))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/mni152"), help="folder to write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    parser.add_argument("--colin", action="store_true", help="Colin27 too, without labels")
    args = parser.parse_args()
    try:
        for name, voxels in write_set(args.out, fetch_maps(args.sources.resolve())).items():
            print(f"{args.out / name}: " + ", ".join(f"{k} {n}" for k, n in voxels.items()))
        if args.colin:
            colin = fetch_colin(args.sources.resolve())
            print(write_values(args.out / "imagesTs" / "colin27_0000.nii.gz", colin.values[0], colin))
    except (DenseError, OSError) as problem:
        raise SystemExit(f"make_mni152: {problem}") from problem


if __name__ == "__main__":
    main()
