"""Cut the subject out of pictures: PNG with transparency, or over a background, or masks.

    dense cutout photo.jpg                                   photo-cutout.png beside it
    dense cutout photos -o out --recursive                   a folder, its structure kept
    dense cutout "photos/*.jpg" -o out --background white    a pattern, over white
    dense cutout @names.txt -o out --mask --skip-existing    a list; go on where it ended
    dense cutout clip.mp4                                    clip-cutout.webm: transparent, times and sound kept
    dense cutout clip.mp4 -o out.mp4 --background green      green screen; -o out.mov: ProRes 4444, transparent
    dense cutout clip.mp4 -o frames                          single frames in a folder
    dense cutout inbox -o out --watch                        what comes into a folder, until Ctrl-C
    dense cutout - -o - < photo.jpg > cutout.png             standard input and output

One network and its weights: --model with -w, or --bundle from dense export (which needs no PyTorch). Where two inputs
would get one name (a.jpg, a.png), the results are a.jpg.png and a.png.png. Exit code 1 if any picture was not done, or
a video ends early because its input is damaged.
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
)

HELP = "cut the subject out of pictures"
DEFAULT_MODEL = "isnet@cutouts"
MODES = (("global", "stretched to the network's size"), ("whole", "at its own resolution"),
         ("tiled", "global, then tiles where it is unsure"))


def add_arguments(parser: ArgumentParser) -> None:
    add_source_arguments(parser, "-cutout")
    add_network_arguments(parser, DEFAULT_MODEL, MODES)
    add_record_arguments(parser)
    parser.add_argument("--background", metavar="none|white|green|#rrggbb|FILE|blur",
                        help="what is put behind the subject (default: nothing, transparent)")
    parser.add_argument("--colours", choices=("estimated", "original"), default="estimated", help="of half-transparent "
                        "pixels: estimated, without the old background (default); original: the picture's own")
    parser.add_argument("--legacy", action="store_true", help="masks exactly as the published script makes them: each "
                        "alpha stretched to 0..1; a picture without a subject then gets one made of noise")
    parser.add_argument("--ignore-alpha", action="store_true", help="take transparent inputs as if they were opaque")
    parser.add_argument("--mask", action="store_true", help="write the alpha as a grey picture in place of the cut-out")
    parser.add_argument("--format", choices=(*FORMATS, *VIDEO_FORMATS), help="default png, or by the suffix of "
                        "OUT; of videos webm, mov, mp4 (needs a background or --mask), mkv, or png ... for "
                        "their frames")


def run(args: Namespace) -> int:
    from dense.errors import ConfigError
    from dense.inference.background import background_of
    from dense.inference.sinks import CutoutWriter

    if args.mask and args.background:
        raise ConfigError("--mask writes the alpha, which has no --background; leave one out")
    writer = CutoutWriter(background_of(args.background), args.mask, args.colours)
    job = make_job(args, writer, (FORMATS | VIDEO_FORMATS).get(args.format))
    if not begin(job):
        return 0
    inferencer = open_inferencer(args, DEFAULT_MODEL, "cutout", input_alpha=not args.ignore_alpha,
                                 task=dict(min_max=True, cut=True) if args.legacy else None)
    return run_job(job, inferencer, "cut out", args.watch)
