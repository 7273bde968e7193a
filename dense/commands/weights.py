"""Weights by name: what there is, where it comes from and what may be done with it; fetch, import, verify.

    dense weights list                                   what is here, and what can be had
    dense weights list isnet@general-use                 all about one: licences, sizes, digests, and their sources
    dense weights list --commercial-only                 only what is clearly allowed in commercial use
    dense weights get isnet@general-use                  fetch (it goes on after an interruption), check, convert
    dense weights import isnet.pth --name isnet@dis5k    what was fetched elsewhere: .pth, .safetensors or .onnx
    dense weights import nnUNet_results/Dataset001_X/STUNetTrainer_small__nnUNetPlans__3d_fullres/fold_0
    dense weights verify                                 hashes, and the output for the golden picture
    dense cutout photo.jpg --model isnet@general-use     names are used wherever weights are

Fetched and imported weights are kept in $DENSE_CACHE/weights (~/.cache/dense/weights). What was trained here is
MODEL@RUN: isnet@isnet_cutouts is work_dirs/isnet_cutouts/best.safetensors. DENSE_OFFLINE=1 fetches nothing.
"""
from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

HELP = "list, fetch, import and verify weights"
STATES = {"shipped": "shipped", "cache": "in the cache", "trained": "trained here", "absent": "not here"}


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, function) -> ArgumentParser:
        found = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                   formatter_class=RawDescriptionHelpFormatter)
        found.set_defaults(act=function)
        return found

    listing = action("list", "what is here and what can be had, with licences", _list)
    listing.add_argument("names", nargs="*", metavar="NAME", help="all about these")
    listing.add_argument("--commercial-only", action="store_true",
                         help="only those whose code, weights and training data clearly allow commercial use")
    listing.add_argument("--json", action="store_true", help="for programs")
    get = action("get", "fetch weights of the catalogue, check and convert them", _get)
    get.add_argument("names", nargs="+", metavar="NAME")
    get.add_argument("--overwrite", action="store_true", help="fetch anew what is in the cache")
    get.add_argument("--commercial-only", action="store_true", help="refuse what is not clearly allowed commercially")
    get.add_argument("--keep", action="store_true", help="keep the fetched file beside the converted one")
    get.add_argument("--offline", action="store_true", help="fetch nothing (as DENSE_OFFLINE=1)")
    importing = action("import", "convert weights that were fetched elsewhere, check them, keep them by name", _import)
    importing.add_argument("file", metavar="FILE", help=".pth, .pt, .safetensors, .onnx or nnU-Net's .model, "
                           "recognised by content; or the folder of a model that nnU-Net trained")
    importing.add_argument("--name", metavar="MODEL@NAME", help="default: the catalogue's, or that of the file")
    importing.add_argument("--overwrite", action="store_true", help="replace weights of that name in the cache")
    verifying = action("verify", "compare hashes, and the output for the golden picture", _verify)
    verifying.add_argument("names", nargs="*", metavar="NAME", help="default: all that are shipped or in the cache")
    action("path", "print the file of some weights", _path).add_argument("name", metavar="NAME")
    action("remove", "remove weights from the cache", _remove).add_argument("names", nargs="+", metavar="NAME")


def run(args: Namespace) -> int:
    return args.act(args)


def _say(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)


def _list(args: Namespace) -> int:
    import json

    from dense.weights import list_weights
    from dense.weights.store import find

    rows = {row["name"]: row for row in list_weights()}
    for name in args.names:
        if name not in rows:
            find(name)  # raises, with near misses
    shown = [rows[name] for name in args.names] or list(rows.values())
    if args.commercial_only:
        shown = [row for row in shown if row["commercial"] == "yes"]
    if args.json:
        print(json.dumps([row | ({"catalogue": _facts(row["name"])} if args.names else {}) for row in shown], indent=2))
    elif args.names:
        print("\n\n".join("\n".join(_details(row)) for row in shown))
    else:
        print("\n".join(_table(shown)))
        left_out = len(rows) - len(shown)
        if left_out:
            _say(f"{left_out} left out: commercial use is not allowed, or nobody said that it is")
    return 0


def _table(rows: list[dict]) -> list[str]:
    """Lines of the table, then how to get what is not here."""
    table = [("NAME", "SIZE", "COMMERCIAL", "STATE", "LICENCE OF THE WEIGHTS; OF THEIR TRAINING DATA")]
    table += [(row["name"], _size(row["bytes"]), row["commercial"], STATES[row["state"]],
               f"{row['licences']['weights']}; {row['licences']['data']}") for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, (*widths, 0), strict=True)) for line in table]
    absent = [row for row in rows if row["state"] == "absent"]
    if absent:
        lines += ["", "not here:", *(f"  {row['name']}: {row['remedy']}" for row in absent)]
    return lines


def _details(row: dict) -> list[str]:
    """All that is known of some weights, line by line."""
    lines = [f"{row['name']}: {row['summary']}".rstrip(": "), f"  {STATES[row['state']]}" + (
        f": {row['path']} ({_size(row['bytes'])})" if row["path"] else f"; {row['remedy']}")]
    lines.append(f"  commercial use: {row['commercial']}")
    facts = _facts(row["name"]) if row["state"] != "trained" else None
    if facts is None:
        return lines + [f"  licence of {part}: {text}" for part, text in row["licences"].items()]
    lines += [f"  licence of {part}: {licence['text']} [{licence['source']}]"
              for part, licence in facts["licences"].items()]
    lines += [f"  {facts['note']}"] if facts["note"] else []
    for file in facts["files"]:
        size = file["size"]
        lines.append(f"  {file['name']}: " + (f"{size['value']} bytes [{size['source']}]" if size else
                                              "size and digest were not published"))
        lines += [f"    {d['kind']} {d['value']} [{d['source']}]" for d in file["digests"]]
        lines += [f"    from {url['value']} [{url['source']}]" for url in file["urls"]]
        lines += [f"    by hand: {file['by_hand']}"] if file["by_hand"] else []
    return lines


def _facts(name: str) -> dict | None:
    """The catalogue's entry as plain values."""
    from dataclasses import asdict

    from dense.weights import read_catalogue

    entry = read_catalogue().get(name)
    return asdict(entry) if entry else None


def _size(size: int | None) -> str:
    return "not published" if size is None else f"{size / 2**20:.1f} MiB"


def _get(args: Namespace) -> int:
    import os

    from dense.errors import DenseError
    from dense.weights import get_weights

    if args.offline:
        os.environ["DENSE_OFFLINE"] = "1"
    failures = []
    for name in args.names:
        try:
            _report(get_weights(name, args.overwrite, args.commercial_only, args.keep, _say))
        except DenseError as error:
            failures.append(error)
    if len(args.names) == 1 and failures:
        raise failures[0]
    for error in failures:
        _say(f"error: {error}")
    return 1 if failures else 0


def _import(args: Namespace) -> int:
    from dense.weights import import_weights

    _report(import_weights(args.file, args.name, args.overwrite, _say))
    return 0


def _report(done) -> None:
    for note in done.notes:
        print(f"  {note}")
    print(f"{done.name}: {done.path}")


def _verify(args: Namespace) -> int:
    from dense.weights import verify_weights

    failed = 0
    for result in verify_weights(args.names, _say):
        print(f"{result.name}: {'FAILED' if result.problems else 'ok'}")
        for line in (*result.lines, *result.problems):
            print(f"  {line}")
        failed += bool(result.problems)
    return 1 if failed else 0


def _path(args: Namespace) -> int:
    from dense.weights import find_weights

    print(find_weights(args.name))
    return 0


def _remove(args: Namespace) -> int:
    from dense.errors import WeightsError
    from dense.weights.store import find, receipt_path

    found = [find(name) for name in args.names]
    for item in found:
        if item.place != "cache":
            remedy = "it belongs to the package" if item.place == "shipped" else "remove the run's folder by hand"
            raise WeightsError(f"{item.name}: {item.words}; only what is in the cache is removed. Remedy: {remedy}")
    for item in found:
        item.path.unlink(missing_ok=True)
        receipt_path(item.path).unlink(missing_ok=True)
        print(f"removed {item.path}")
    return 0
