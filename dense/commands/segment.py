"""Classes of the pixels of pictures: overlays with a legend, label pictures, masks, areas.

    dense segment street.jpg                                  street-segment.png beside it: classes over the picture
    dense segment streets -o out --recursive                  a folder, its structure kept
    dense segment streets -o out --what labels                label pictures: the values are the classes' indices
    dense segment streets -o out --what labels,overlay,masks  and NAME.overlay.png, NAME.masks/CLASS.png beside them
    dense segment streets -o out --areas areas.csv --json     pixels and shares of all classes; COCO run lengths
    dense segment drive.mp4 --bundle bundle                   drive-segment.mp4: times and sound kept
    dense segment inbox -o out --watch                        what comes into a folder, until Ctrl-C

Names and colours of the classes are those of the network's task. One network and its weights: --model with -w, or
--bundle from dense export (which needs no PyTorch). Exit code 1 if any picture was not done, or a video ends early
because its input is damaged.
"""
from __future__ import annotations

from argparse import ArgumentParser, Namespace

from dense.commands._pictures import (
    FORMATS,
    VIDEO_FORMATS,
    add_network_arguments,
    add_record_arguments,
    add_source_arguments,
    begin,
    make_job,
    open_inferencer,
    run_job,
    share,
)

HELP = "find the class of every pixel of pictures"
DEFAULT_MODEL = "ffnet40S_BCC_mobile@scenes"
MODES = (("global", "scaled to the network's size"), ("whole", "at its own resolution"),
         ("sliding", "overlapping windows of the network's size, at its own resolution"))


def add_arguments(parser: ArgumentParser) -> None:
    add_source_arguments(parser, "-segment")
    add_network_arguments(parser, DEFAULT_MODEL, MODES)
    add_record_arguments(parser)
    parser.add_argument("--what", default="overlay", metavar="KIND[,KIND...]",
                        help="overlay (default), labels (values are indices), colours, masks; the first is the result, "
                        "the others are written beside it")
    parser.add_argument("--areas", metavar="FILE", help="a CSV for the whole run: pixels and share of each class in "
                        "each picture")
    parser.add_argument("--opacity", type=share, default=0.5, help="of the colours in overlays, 0 to 1 "
                        "(default %(default)s)")
    parser.add_argument("--no-legend", dest="legend", action="store_false", help="overlays as large as their pictures, "
                        "without the names of the classes below")
    parser.add_argument("--format", choices=(*FORMATS, *VIDEO_FORMATS), help="default png, or by the suffix of OUT; of "
                        "videos mp4, webm, mov, mkv, or png ... for their frames")


def run(args: Namespace) -> int:
    from pathlib import Path

    from dense.errors import ConfigError
    from dense.inference.run_table import add_table, open_table
    from dense.inference.segment_writer import SegmentWriter, area_table
    from dense.inference.video_jobs import means_videos

    writer = SegmentWriter(tuple(args.what.split(",")), args.opacity, args.legend)
    suffix = (FORMATS | VIDEO_FORMATS).get(args.format)
    if means_videos(args.inputs, args.output, suffix):
        if args.what not in ("overlay", "colours"):
            raise ConfigError(f"--what {args.what}: a video shows the overlay or the colours. Remedy: --format png -o "
                              "FOLDER, for its frames")
    elif suffix:
        writer.check_format(suffix, f"--format {args.format}")
    if args.output == "-" and len(writer.kinds) > 1:
        raise ConfigError(f"--what {args.what}: standard output takes one kind. Remedy: -o FOLDER")
    areas = open_table(area_table(), "--areas", Path(args.areas), args.inputs, args.output,
                       args.skip_existing or args.watch, args.overwrite) if args.areas else None
    job = make_job(args, writer, suffix)
    if areas:
        add_table(job, areas, Path(args.areas))
    if not begin(job):
        return 0
    inferencer = open_inferencer(args, DEFAULT_MODEL, "semantic")
    return run_job(job, inferencer, "segment", args.watch)
