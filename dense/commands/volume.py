"""Classes of the voxels of volumes (CT, MRI): labels, volumes in ml, planes, surfaces.

    dense volume brain.nii.gz                          brain-labels.nii.gz beside it
    dense volume scans -o out --recursive              a folder, its structure kept; DICOM series are folders
    dense volume scans -o out --volumes ml.csv         and a table: voxels and ml of each class in each case
    dense volume brain.nii.gz -o out --planes          and out/brain.planes.png: three planes with the classes
    dense volume brain.nii.gz -o out --surfaces stl    and out/brain.surfaces/CLASS.stl, closed, in mm
    dense volume scans -o out --probabilities          and NAME.probabilities.npz, as nnU-Net names them

Labels are on the grid of their file, with its geometry. With a network of several channels CASE_0000.nii.gz,
CASE_0001.nii.gz ... are one case, as is a 4-D file. One network and its weights: --model with -w, or --bundle from
dense export (which needs no PyTorch). Exit code 1 if any volume was not done. Not for clinical use.
"""
from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from dense.commands._pictures import (
    add_device_arguments,
    add_existing_arguments,
    begin,
    make_job,
    open_inferencer,
    positive,
    run_job,
    size,
)

HELP = "find the class of every voxel of volumes (CT, MRI)"
DEFAULT_MODEL = "stunet_small@mni152"
MODES = (("mirrored", "each patch in all its mirror images, averaged, as nnU-Net does it"),
         ("plain", "each patch once: up to eight times as fast"))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT",
                        help="volume (.nii.gz, .nii, .hdr, .mgz, .nrrd, .mha), folder, DICOM folder, pattern or @list")
    parser.add_argument("-o", "--output", metavar="OUT", help="folder; for one volume also a .nii.gz or .nii (default: "
                        "NAME-labels.nii.gz beside a file, FOLDER-labels for a folder)")
    add_existing_arguments(parser)
    add_device_arguments(parser, DEFAULT_MODEL, MODES)
    parser.add_argument("--batch", type=positive, default=1, help="patches that the network is given at once")
    parser.add_argument("--max-memory", type=size, metavar="SIZE", help="that may be used beside the network and the "
                        "volume, for example 2G; what does not fit is worked off in slabs, or on the disk: the labels "
                        "are the same")
    parser.add_argument("--step", type=_share, metavar="SHARE", help="distance between patches as a share of a patch "
                        "(default: the network's, 0.5)")
    parser.add_argument("--half", action="store_true", help="sums over patches in half precision: half the memory, "
                        "labels may differ a little where classes meet")
    parser.add_argument("--fill", type=float, metavar="VALUE", help="take this for voxels that are NaN or infinite, "
                        "which else are an error")
    out = parser.add_argument_group("what is written beside the labels")
    out.add_argument("--volumes", metavar="FILE", help="a CSV for the whole run: voxels and ml of each class in each "
                     "case")
    out.add_argument("--planes", action="store_true", help="NAME.planes.png: an axial, a coronal and a sagittal plane "
                     "with the classes")
    out.add_argument("--surfaces", choices=("ply", "stl"), help="NAME.surfaces/CLASS of each class: closed surfaces in "
                     "mm")
    out.add_argument("--probabilities", nargs="?", const="npz", choices=("npz", "nii"),
                     help="NAME.probabilities.npz (half precision; the default), or .nii.gz (4-D, single precision)")
    out.add_argument("--json", action="store_true", help="NAME.json: size, spacing, ml, network, weights and their "
                     "sha256, seconds")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"{text!r} is no number above 0 and at most 1")
    return value


def run(args: Namespace) -> int:
    from pathlib import Path

    from dense.errors import ConfigError
    from dense.inference.jobs import Inputs
    from dense.inference.run_table import add_table, open_table
    from dense.inference.volume_writer import VolumeWriter, volume_table
    from dense.io.volume_files import NIFTI_SUFFIXES

    if args.output == "-" or "-" in args.inputs:
        raise ConfigError("volumes are files: standard input and output take none. Remedy: paths, and -o FOLDER")
    for path in args.inputs:  # said before a network is loaded
        if not (Path(path).exists() or path.startswith("@") or any(c in path for c in "*?[")):
            raise ConfigError(f"{path}: does not exist; check the path")
    table = open_table(volume_table(), "--volumes", Path(args.volumes), args.inputs, args.output, args.skip_existing,
                       args.overwrite) if args.volumes else None
    inferencer = open_inferencer(args, DEFAULT_MODEL, "volume", half=args.half,
                                 task={"step": args.step} if args.step else None)
    kind = Inputs(inferencer.finder(fill=args.fill), NIFTI_SUFFIXES, ".nii.gz", "volume")
    job = make_job(args, VolumeWriter(args.probabilities, args.planes, args.surfaces), kind=kind)
    if table:
        add_table(job, table, Path(args.volumes))
    if not begin(job):
        return 0
    options = {}
    if args.probabilities:  # on their way they are where the results go
        place = next((p for p in (Path(job.place), Path(args.output or args.inputs[0]).resolve().parent) if p.is_dir()),
                     None)
        options = {"probabilities": "float16" if args.probabilities == "npz" else "float32", "folder": place}
    return run_job(job, inferencer, "volumes", parts="patches", **options)
