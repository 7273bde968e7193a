"""Cut the subject out of pictures: PNG with transparency, or over a background, or masks.

    dense cutout photo.jpg                                   photo-cutout.png beside it
    dense cutout photos -o out --recursive                   a folder, its structure kept
    dense cutout "photos/*.jpg" -o out --background white    a pattern, over white
    dense cutout @names.txt -o out --mask --skip-existing    a list; go on where it ended
    dense cutout clip.mp4                                    clip-cutout.webm: a video with transparency, sound kept
    dense cutout clip.mp4 -o green.mp4 --background green    over green; -o out.mov: ProRes 4444
    dense cutout clip.mp4 -o frames                          single frames
    dense cutout inbox -o out --watch                        what comes into a folder, until Ctrl-C
    dense cutout - -o - < photo.jpg > cutout.png             standard input and output

One network and its weights: --model with -w, or --bundle from dense export (which needs no PyTorch). Where two inputs
would get one name (a.jpg, a.png), the results are a.jpg.png and a.png.png. Exit code 1 if any picture was not done.
"""
from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace

HELP = "cut the subject out of pictures"
DEFAULT_MODEL = "isnet@cutouts"
SUFFIXES = {"png": ".png", "webp": ".webp", "tiff": ".tiff", "webm": ".webm", "mov": ".mov", "mp4": ".mp4",
            "mkv": ".mkv"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT",
                        help="picture, folder, pattern, @list, video, or - for standard input")
    parser.add_argument("-o", "--output", metavar="OUT", help="folder; for one picture or video also a file, or - for "
                        "standard output (default: NAME-cutout.png beside a picture, NAME-cutout.webm beside a video, "
                        "FOLDER-cutout for a folder)")
    parser.add_argument("--model", help=f"name or config (default {DEFAULT_MODEL})")
    parser.add_argument("-w", "--weights", metavar="FILE", help="weights of the model: .safetensors, .pth or .onnx")
    parser.add_argument("--bundle", metavar="FOLDER", help="a bundle from dense export in place of a model")
    parser.add_argument("--backend", help="of a bundle: auto, onnxruntime, openvino; of a model: torch")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: the best there is)")
    parser.add_argument("--batch", type=_positive, default=1, help="pictures that the network is given at once")
    parser.add_argument("--jobs", type=_positive, help="threads that read and write pictures")
    parser.add_argument("--threads", type=_positive, help="threads of the network on CPU")
    parser.add_argument("--mode", choices=("global", "whole", "tiled"), default="global",
                        help="global: stretched to the network's size; whole: at its own resolution; tiled: global, "
                        "then tiles where it is unsure")
    parser.add_argument("--background", default="none", metavar="none|white|green|#rrggbb|FILE|blur",
                        help="what is put behind the subject (default: nothing, transparent)")
    parser.add_argument("--mask", action="store_true", help="write the alpha as a grey picture in place of the cut-out")
    parser.add_argument("--format", choices=tuple(SUFFIXES), help="default png, or by the suffix of OUT; of a video "
                        "webm, mov, mp4 (needs a background or --mask), mkv, or png ... for its frames")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="leave out pictures whose results are there")
    existing.add_argument("--overwrite", action="store_true", help="make results that are there anew")
    parser.add_argument("--recursive", action="store_true", help="the folders below as well")
    parser.add_argument("--watch", action="store_true", help="go on with what comes into a folder; implies "
                        "--skip-existing")
    parser.add_argument("--idle", type=float, default=float("inf"), metavar="SECONDS",
                        help="with --watch: end after so long without a new picture")
    parser.add_argument("--max-memory", type=_size, metavar="SIZE", help="that pictures on their way may take, for "
                        "example 500M or 2G; larger ones are refused (the network's own is not counted)")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", text, re.IGNORECASE)
    size = int(float(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2].upper()]) if found else 0
    if size < 1:
        raise ArgumentTypeError(f"{text!r} is no size; give for example 500M or 2G")
    return size


def run(args: Namespace) -> int:
    import logging
    import sys

    from dense.inference.jobs import plan_job
    from dense.progress import Meter

    job = plan_job(args.inputs, args.output, suffix=SUFFIXES.get(args.format), mask=args.mask,
                   background=args.background, recursive=args.recursive, watched=args.watch, idle=args.idle,
                   skip_existing=args.skip_existing or args.watch, overwrite=args.overwrite)
    for line in job.notes:
        print(line, file=sys.stderr)
    if job.total == 0:
        print(f"nothing to do: {job.skipped} results are there already", file=sys.stderr)
        return 0
    inferencer = _open(args)
    print(inferencer.describe(), file=sys.stderr)
    meter = Meter("cut out", job.total)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: meter.say(f"warning: {record.getMessage()}")
    logger = logging.getLogger("dense")
    logger.addHandler(handler)
    done, failures, outcomes = 0, [], []
    works = inferencer.run(job.items, job.write)
    try:
        with meter, job.sink:
            for work in works:
                if work.failure:
                    failures.append(work.failure)
                job.sink.add(work)
                if not work.failure:
                    done += 1
                    outcomes = outcomes or [work.outcome]
                meter.step(done + len(failures), f"{len(failures)} failed" if failures else "")
    except KeyboardInterrupt:
        works.close()
        if not args.watch:
            print(f"interrupted: {done}{job.sink.unit} done, {job.sink.interrupted}", file=sys.stderr)
            return 130
    finally:
        works.close()
        logger.removeHandler(handler)
    return _report(done, job, outcomes, failures)


def _open(args: Namespace):
    from dense.errors import ConfigError
    from dense.inference import Inferencer

    if args.bundle and (args.model or args.weights):
        raise ConfigError("--bundle holds model and weights. Remedy: leave out --model and --weights")
    model = args.model or ("isnet" if args.weights else DEFAULT_MODEL)
    return Inferencer(args.bundle or model, weights=args.weights, device=args.device, backend=args.backend,
                      mode=args.mode, batch=args.batch, threads=args.threads, jobs=args.jobs,
                      max_memory=args.max_memory)


def _report(done: int, job, outcomes: list, failures: list) -> int:
    import sys

    from dense.inference.pipeline import Failure

    skipped = f", {job.skipped} were there already" if job.skipped else ""
    where = f": {outcomes[0]}" if done == 1 else f" into {job.place}" if done else ""
    print(f"{done}{job.sink.unit} done{where}{skipped}", file=sys.stderr)
    failures += [Failure(*failure) for failure in job.sink.failures]
    if failures:
        print(f"{len(failures)} not done:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.source}: {failure.reason}", file=sys.stderr)
    return 1 if failures else 0
