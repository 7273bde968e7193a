"""What the verbs that work on pictures share: their arguments, the inferencer, and the run with its report."""
from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dense.inference import Inferencer
    from dense.inference.jobs import Inputs, Job
    from dense.inference.sinks import Writer

FORMATS = {"png": ".png", "webp": ".webp", "tiff": ".tiff"}
VIDEO_FORMATS = {"webm": ".webm", "mov": ".mov", "mp4": ".mp4", "mkv": ".mkv"}


def add_source_arguments(parser: ArgumentParser, marker: str) -> None:
    """Inputs and outputs. marker: ends the names of results that have no place of their own."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT",
                        help="picture, folder, pattern, @list, video, or - for standard input")
    parser.add_argument("-o", "--output", metavar="OUT", help="folder; for one picture or video also a file, or - for "
                        f"standard output (default: NAME{marker}.png beside a file, FOLDER{marker} for a folder)")
    add_existing_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="go on with what comes into a folder; implies "
                        "--skip-existing")
    parser.add_argument("--idle", type=_seconds, metavar="SECONDS",
                        help="with --watch: end after so long without a new picture")


def add_existing_arguments(parser: ArgumentParser) -> None:
    """What becomes of results that are there, and of folders in folders."""
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="leave out inputs whose results are there")
    existing.add_argument("--overwrite", action="store_true", help="make results that are there anew")
    parser.add_argument("--recursive", action="store_true", help="the folders below as well")


def add_network_arguments(parser: ArgumentParser, default: str, modes: Sequence[tuple[str, str]]) -> None:
    """The network and what it may use, for pictures; see ``add_device_arguments``."""
    add_device_arguments(parser, default, modes)
    parser.add_argument("--batch", type=positive, default=1, help="pictures that the network is given at once")
    parser.add_argument("--jobs", type=positive, help="threads that read and write pictures")
    parser.add_argument("--max-memory", type=size, metavar="SIZE", help="that pictures on their way may take, for "
                        "example 500M or 2G; larger ones are refused (the network's own is not counted)")


def add_device_arguments(parser: ArgumentParser, default: str, modes: Sequence[tuple[str, str]]) -> None:
    """The network and what it runs on. default: model@weights; modes: of the task with an explanation each."""
    parser.add_argument("--model", help=f"name or config (default {default})")
    parser.add_argument("-w", "--weights", metavar="FILE", help="weights of the model: .safetensors, .pth or .onnx")
    parser.add_argument("--bundle", metavar="FOLDER", help="a bundle from dense export in place of a model")
    parser.add_argument("--backend", help="of a bundle: auto, onnxruntime, openvino; of a model: torch")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: the best there is; of a bundle: cpu)")
    parser.add_argument("--threads", type=positive, help="threads of the network on CPU")
    parser.add_argument("--mode", choices=[m for m, _ in modes],
                        help="; ".join(f"{m}: {text}" for m, text in modes) + f" (default {modes[0][0]})")


def add_record_arguments(parser: ArgumentParser) -> None:
    """What is written beside the results."""
    parser.add_argument("--json", action="store_true", help="NAME.json beside each result: size, what was found, "
                        "network, weights and their sha256, seconds")
    parser.add_argument("--sheet", metavar="FILE", help="a contact sheet of the first 24 results")


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def share(text: str) -> float:
    """Type of an argument: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def size(text: str) -> int:
    """An argument that is a number of bytes, as 500M or 2G."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", text, re.IGNORECASE)
    value = int(float(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2].upper()]) if found else 0
    if value < 1:
        raise ArgumentTypeError(f"{text!r} is no size; give for example 500M or 2G")
    return value


def make_job(args: Namespace, writer: Writer, suffix: str | None = None, kind: Inputs | None = None) -> Job:
    """The job of the arguments, checked; ConfigError for arguments that contradict each other. kind: of the inputs,
    None for pictures."""
    from dense.errors import ConfigError
    from dense.inference.jobs import Inputs, plan_job

    watch, idle = getattr(args, "watch", False), getattr(args, "idle", None)
    if watch and args.overwrite:
        raise ConfigError("--watch leaves out what is done, --overwrite makes it anew; leave one out")
    if watch and suffix in VIDEO_FORMATS.values():
        raise ConfigError(f"--watch takes pictures, not videos; leave out --format {suffix[1:]}")
    if idle is not None and not watch:
        raise ConfigError("--idle ends --watch, which was not asked for; leave it out, or add --watch")
    facts = None
    if getattr(args, "json", False):
        from dense.inference.sidecars import WithSidecar
        from dense.inference.video_jobs import means_videos

        if args.output == "-":
            raise ConfigError("--json writes a file beside each result; standard output has none. Remedy: -o FILE")
        if means_videos(args.inputs, args.output, suffix):
            raise ConfigError("--json describes pictures. Remedy: --format png writes the frames of a video as such")
        facts = {}
        writer = WithSidecar(writer, facts)
    sheet = Path(args.sheet) if getattr(args, "sheet", None) else None
    job = plan_job(args.inputs, writer, args.output, suffix, recursive=args.recursive, watched=watch,
                   idle=float("inf") if idle is None else idle, skip_existing=args.skip_existing or watch,
                   overwrite=args.overwrite, reserved=[sheet] if sheet else [], kind=kind or Inputs())
    job.facts = facts
    if sheet:
        from dense.inference.sheets import add_sheet

        add_sheet(job, sheet, args.inputs, args.output, replace=args.skip_existing or watch or args.overwrite)
    return job


def open_inferencer(args: Namespace, default: str, kind: str, **options: Any) -> Inferencer:
    """The inferencer of the arguments, and of further options of its kind. ConfigError if its task is of another."""
    from dense.errors import ConfigError
    from dense.inference import Inferencer

    if args.bundle and (args.model or args.weights):
        raise ConfigError("--bundle holds model and weights. Remedy: leave out --model and --weights")
    model = args.model or (default.split("@")[0] if args.weights else default)
    inferencer = Inferencer(args.bundle or model, weights=args.weights, device=args.device, backend=args.backend,
                            batch=args.batch, threads=args.threads, jobs=getattr(args, "jobs", None),
                            max_memory=args.max_memory, mode=args.mode, **options)
    if inferencer.task.kind != kind:
        raise ConfigError(f"{inferencer.name} is made for the task {inferencer.task.kind}, not {kind}. Remedy: another "
                          "model, or another verb (dense --help)")
    return inferencer


def run_job(job: Job, inferencer: Inferencer, what: str, watched: bool = False, parts: str = "",
            **options: Any) -> int:
    """Run it with progress and say what became of it; the exit code: 1 if any picture was not done, 130 after Ctrl-C.

    what: is done to the pictures, for the progress bar. parts: what the progress within each is counted in, '' where
    there is none. options: for ``Inferencer.run``.
    """
    import logging
    import sys

    from dense.progress import Meter

    print(inferencer.describe(), file=sys.stderr)
    if job.facts is not None:
        from dense.inference.provenance import provenance

        job.facts.update(provenance(inferencer))
    meter = Meter(what, job.total)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: meter.say(f"warning: {record.getMessage()}")
    logger = logging.getLogger("dense")
    logger.addHandler(handler)
    done, failures, outcomes = 0, [], []
    if parts:
        options["say"] = lambda name, done, total: meter.part(f"{name}, {parts}", done, total)
    works = inferencer.run(job.items, job.write, **options)
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
        if not watched:
            _finish(job, failures)
            print(f"interrupted: {done}{job.sink.unit} done, {job.sink.interrupted}", file=sys.stderr)
            return 130
    finally:
        works.close()
        logger.removeHandler(handler)
    _finish(job, failures)
    return _report(done, job, outcomes, failures)


def _finish(job: Job, failures: list) -> None:
    """What is to be done after the last picture; what cannot be done joins the failures."""
    from dense.errors import DenseError
    from dense.inference.pipeline import Failure

    try:
        if job.finish:
            job.finish()
    except DenseError as error:
        failures.append(Failure("after the last picture", str(error)))


def begin(job: Job) -> bool:
    """Say what a person should know beforehand; False if there is nothing to do."""
    import sys

    for line in job.notes:
        print(line, file=sys.stderr)
    if job.total == 0:
        print(f"nothing to do: {job.skipped} results are there already", file=sys.stderr)
    return job.total != 0


def _report(done: int, job: Job, outcomes: list, failures: list) -> int:
    import sys

    from dense.inference.pipeline import Failure

    failures += [Failure(*failure) for failure in job.sink.failures]
    skipped = f", {job.skipped} were there already" if job.skipped else ""
    where = f": {outcomes[0]}" if done == 1 else f" into {job.place}" if done else ""
    print(f"{done}{job.sink.unit} done{where}{skipped}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} not done:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.source}: {failure.reason}", file=sys.stderr)
    return 1 if failures else 0
