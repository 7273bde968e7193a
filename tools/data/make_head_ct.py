#!/usr/bin/env python3
"""Make data/head_ct: a real head CT as NIfTI, from Debian's invesalius-examples, to try `dense volume` on.

    python tools/data/make_head_ct.py            fetches 19 MB (apt-get, dpkg-deb), writes about 9 MB

ct.nii.gz: 256 x 256 x 108 voxels of 0.957 x 0.957 x 1.5 mm, CT numbers. masks.nii.gz: what the project in the package
has marked by thresholds: 1 tissue, 2 bone. The project says nothing about orientation: up and front are seen in the
pictures, left and right are taken to be as in DICOM, from which the program that wrote it turned rows only.
"""
import argparse
import plistlib
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import _cutout_sources as sources
import numpy as np

from dense.errors import DatasetError, DenseError
from dense.io import write_text
from dense.io.volume import Volume, volume_from_array, write_labels, write_values

PACKAGE = "invesalius-examples"
PROJECT = "usr/share/doc/invesalius-examples/examples/Cranium.inv3"
NOTICE = """\
ct.nii.gz, masks.nii.gz: the project Cranium.inv3 of Debian's package invesalius-examples (InVesalius, (c) Centro de
Tecnologia da Informação Renato Archer), GPL-2 by the package's copyright file; converted by tools/data/make_head_ct.py.
"""


def fetch_project(cache: Path) -> Path:
    """The project's file; needs apt-get and dpkg-deb."""
    folder = cache / PACKAGE
    if not (folder / PROJECT).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        sources._run(["apt-get", "download", "-q", PACKAGE], folder)
        archive = sources._one(folder, "*.deb")
        sources._run(["dpkg-deb", "-x", archive.name, "."], folder)
        archive.unlink()
    if not (folder / PROJECT).is_file():
        raise DatasetError(f"{PACKAGE}: holds no {PROJECT}; another version of the package?")
    return folder / PROJECT


def read_project(path: Path) -> tuple[Volume, np.ndarray]:
    """(the CT, masks uint8 (Z, Y, X)) of an InVesalius project: a packed archive of plists and raw voxels."""
    try:
        with tarfile.open(path) as archive:
            members = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}

            def read(name: str) -> bytes:
                return archive.extractfile(members[name]).read()

            main = plistlib.loads(read("main.plist"))
            shape = tuple(main["matrix"]["shape"])
            values = np.frombuffer(read("matrix.dat"), np.dtype(main["matrix"]["dtype"])).reshape(shape)
            labels = np.zeros(shape, np.uint8)
            for value, key in ((1, "1"), (2, "0")):  # tissue, then bone over it
                mask = plistlib.loads(read(main["masks"][key]))
                raw = np.frombuffer(read(mask["mask_file"]), np.uint8).reshape(mask["mask_shape"])
                labels[raw[1:, 1:, 1:] >= 127] = value  # the first of each axis is the program's own note
    except (KeyError, ValueError, OSError, tarfile.TarError, plistlib.InvalidFileException) as problem:
        raise DatasetError(f"{path}: is no project as expected ({problem!r}). Remedy: delete it and run again"
                           ) from None
    dx, dy, dz = main["spacing"]
    affine = np.diag([-dx, dy, dz, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ [(n - 1) / 2 for n in shape[::-1]]  # the middle is 0
    return volume_from_array(values, (dz, dy, dx), affine, str(path)), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/head_ct"), help="folder to write")
    parser.add_argument("--sources", type=Path, default=Path(".sources"), help="folder of fetched packages")
    args = parser.parse_args()
    try:
        volume, labels = read_project(fetch_project(args.sources.resolve()))
        write_values(args.out / "ct.nii.gz", volume.values[0], volume)
        write_labels(args.out / "masks.nii.gz", labels, volume)
        write_text(args.out / "NOTICE.txt", NOTICE)
    except (DenseError, OSError) as problem:
        raise SystemExit(f"make_head_ct: {problem}") from problem
    size, counts = " x ".join(map(str, volume.shape[::-1])), np.bincount(labels.ravel(), minlength=3)
    print(f"{args.out}: ct.nii.gz, {size} voxels; masks.nii.gz: {counts[1]} of tissue, {counts[2]} of bone")


if __name__ == "__main__":
    main()
