"""Erase what is masked in pictures, such as text, and nothing else: all other pixels stay bit for bit as they are.

    dense erase photo.jpg --mask mask.png                    photo-erased.png beside it; white is erased
    dense erase photo.jpg --boxes 40,30,220,48 60,400,90,20  x,y,width,height in pixels
    dense erase photo.jpg --auto --preview                   photo-preview.png: the text that is found, in red
    dense erase photo.jpg --auto                             erase it
    dense erase photos -o out --mask masks --recursive       a folder, with a mask of the same name for each
    dense erase - -o - --boxes 0,0,80,20 < a.jpg > b.png     standard input and output

The mask is widened by a few pixels, and the result fades in there. One network and its weights: --model with -w, or
--bundle from dense export (which needs no PyTorch). Exit code 1 if any picture was not done.
"""
from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

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
)

HELP = "erase text, or whatever is masked, from pictures"
DEFAULT_MODEL = "deeperaser@text"
MODES = (("windows", "around each part of the mask, at the picture's resolution"),
         ("tiles", "the same, all of the network's size"), ("whole", "all of the picture at once; needs memory"))


def add_arguments(parser: ArgumentParser) -> None:
    add_source_arguments(parser, "-erased")
    where = parser.add_argument_group("what is erased").add_mutually_exclusive_group(required=True)
    where.add_argument("--mask", metavar="FILE|FOLDER", help="grey picture of the same size, white where to erase; or "
                       "a folder with one of the same name for each picture")
    where.add_argument("--boxes", nargs="+", type=_box, metavar="X,Y,W,H", help="rectangles in pixels, in all pictures")
    where.add_argument("--auto", action="store_true", help="text that a detector finds (extra 'text')")
    parser.add_argument("--invert", action="store_true", help="with --mask: black where to erase")
    parser.add_argument("--preview", action="store_true", help="erase nothing: show in red what would be")
    add_network_arguments(parser, DEFAULT_MODEL, MODES)
    add_record_arguments(parser)
    parser.add_argument("--dilate", type=_pixels, metavar="PIXELS", help="by which the mask is widened (default: 3)")
    parser.add_argument("--feather", type=_pixels, metavar="PIXELS",
                        help="over which the result fades in (default: 3)")
    parser.add_argument("--format", choices=(*FORMATS, "jpg", *VIDEO_FORMATS),
                        help="default png, or by the suffix of OUT; png and tiff keep every pixel; of videos mp4")


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(v) for v in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4 or not all(abs(v) < 1e9 for v in box) or not (box[2] >= 1 and box[3] >= 1):
        raise ArgumentTypeError(f"{text!r} is no box; give x,y,width,height in pixels, for example 40,30,220,48")
    return box


def _pixels(text: str) -> int:
    if not text.isdigit() or int(text) > 1000:
        raise ArgumentTypeError(f"{text!r} is no number of pixels from 0 to 1000")
    return int(text)


def run(args: Namespace) -> int:
    from dense.errors import ConfigError
    from dense.inference.masks import Preview, find_masks, with_masks
    from dense.inference.sinks import EraseWriter

    if args.invert and args.mask is None:
        raise ConfigError("--invert is about --mask, which was not given; leave it out")
    job = make_job(args, EraseWriter(args.preview), (FORMATS | VIDEO_FORMATS | {"jpg": ".jpg"}).get(args.format))
    if not begin(job):
        return 0
    masks = find_masks("auto" if args.auto else args.mask if args.mask is not None else args.boxes, args.invert)
    job.items = with_masks(job.items, masks)
    if args.preview:
        job.facts = None  # of a network, which there is not
        return run_job(job, Preview(), "previewed", args.watch)
    given = {k: v for k in ("dilate", "feather") if (v := getattr(args, k)) is not None}
    return run_job(job, open_inferencer(args, DEFAULT_MODEL, "erase", task=given), "erased", args.watch)
