"""Objects in pictures: what is where, as boxes with a class and a score.

    dense detect street.jpg                                   street-detect.png beside it: boxes over the picture
    dense detect photos -o out --recursive                    a folder, its structure kept
    dense detect photos -o out --classes bird,fish --threshold 0.5 --top 10
    dense detect photos -o out --csv boxes.csv --coco boxes.json   all objects of the run in one file
    dense detect photos -o out --yolo --json                  NAME.txt and NAME.json beside each picture
    dense detect val -o out --coco results.json --ids instances_val.json   results with the ids of a data set
    dense detect drive.mp4 --bundle bundle                    drive-detect.mp4: times and sound kept

Names and colours of the classes are those of the network's task. One network and its weights: --model with -w, or
--bundle from dense export (which needs no PyTorch). Exit code 1 if any picture was not done, or a video ends early
because its input is damaged.
"""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from dense.commands._pictures import (
    FORMATS,
    VIDEO_FORMATS,
    add_network_arguments,
    add_record_arguments,
    add_source_arguments,
    begin,
    make_job,
    open_inferencer,
    positive,
    run_job,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dense.inference.jobs import Job

HELP = "find objects in pictures"
DEFAULT_MODEL = "stageinteractor_r50@objects"
MODES = (("fit", "scaled to the network's size, its proportions kept"),
         ("global", "the same, all of one size, with a border"))


def add_arguments(parser: ArgumentParser) -> None:
    add_source_arguments(parser, "-detect")
    what = parser.add_argument_group("what is kept")
    what.add_argument("--threshold", type=share, metavar="SCORE", help="objects of at least this score, 0 to 1 "
                      "(default: the task's)")
    what.add_argument("--classes", metavar="NAME[,NAME...]", help="of these classes only")
    what.add_argument("--top", type=positive, metavar="N", help="the surest N of each picture")
    add_network_arguments(parser, DEFAULT_MODEL, MODES)
    add_record_arguments(parser)
    parser.add_argument("--csv", metavar="FILE", help="a CSV for the whole run, a row for each object")
    parser.add_argument("--coco", metavar="FILE", help="a JSON for the whole run: images, categories and annotations "
                        "with scores, as COCO has them")
    parser.add_argument("--ids", metavar="FILE", help="with --coco: an instances file of COCO; the JSON then is a list "
                        "of results with its ids")
    parser.add_argument("--yolo", action="store_true", help="NAME.txt beside each result, as YOLO has them, and "
                        "classes.txt")
    parser.add_argument("--label", choices=("all", "class", "none"), default="all", help="at the boxes: class and "
                        "score (all, the default), class, none")
    parser.add_argument("--format", choices=(*FORMATS, "jpg", *VIDEO_FORMATS), help="default png, or by the suffix of "
                        "OUT; of videos mp4, webm, mov, mkv, or png ... for their frames")


def run(args: Namespace) -> int:
    from pathlib import Path

    from dense.errors import ConfigError
    from dense.inference.detect_writer import CocoIds, CocoTable, DetectWriter, box_table
    from dense.inference.run_table import add_table, open_table
    from dense.inference.video_jobs import means_videos
    from dense.weights.shipped import list_shipped

    suffix = (FORMATS | VIDEO_FORMATS | {"jpg": ".jpg"}).get(args.format)
    if args.ids and not args.coco:
        raise ConfigError("--ids is about --coco, which was not given; leave it out")
    if args.yolo and (args.output == "-" or means_videos(args.inputs, args.output, suffix)):
        raise ConfigError("--yolo writes a file beside each picture; there are none beside a video or standard output. "
                          "Remedy: -o FOLDER --format png")
    keep = args.skip_existing or args.watch
    tables = []
    coco = CocoTable(ids=CocoIds(args.ids) if args.ids else None)
    for option, table in (("csv", box_table()), ("coco", coco)):
        if file := getattr(args, option):
            tables.append((open_table(table, f"--{option}", Path(file), args.inputs, args.output, keep,
                                      args.overwrite), Path(file)))
    job = make_job(args, DetectWriter(args.label, args.yolo), suffix)
    for table, path in tables:
        add_table(job, table, path)
    if not begin(job):
        return 0
    if not (args.bundle or args.model or args.weights) and DEFAULT_MODEL not in list_shipped():
        raise ConfigError(f"there are no {DEFAULT_MODEL} here. Remedy: -w FILE, weights that were published or trained "
                          "(dense train stageinteractor_objects), or --bundle")
    given = {} if args.threshold is None else {"threshold": args.threshold}
    inferencer = open_inferencer(args, DEFAULT_MODEL, "detection", task=given)
    coco.classes = inferencer.task.classes
    _select(job, _names(args.classes, inferencer.task.classes), args.top)
    return run_job(job, inferencer, "detect", args.watch)


def _names(text: str | None, classes: Sequence[str]) -> tuple[str, ...] | None:
    """The classes that were asked for; ConfigError for one that there is not."""
    import difflib

    from dense.errors import ConfigError

    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, 1)
            raise ConfigError(f"--classes {text}: no class is called {name!r}"
                              + (f"; did you mean {near[0]!r}?" if near else "")
                              + f" The classes are {', '.join(classes)}")
    return names


def _select(job: Job, classes: tuple[str, ...] | None, top: int | None) -> None:
    """Make the job leave out the objects that were not asked for, in all that is written."""
    write = job.write
    job.write = lambda result, item: write(result.select(classes, most=top), item)
