"""Check boxes, and convert them: COCO's JSON, YOLO's text files, Pascal VOC's XML files.

    python tools/data/convert_detection.py instances_val.json --images val           check alone
    python tools/data/convert_detection.py instances_val.json --to yolo -o out       out/labels/*.txt, out/data.yaml
    python tools/data/convert_detection.py VOC2007 --to coco -o instances.json
    python tools/data/convert_detection.py yolo_folder --to voc -o out               out/Annotations/*.xml

What IN is, is seen from it: a .json file; a folder with .xml files; a folder with labels/*.txt and data.yaml. Boxes
come back exactly (to ten decimals of a pixel); masks stay in COCO's JSON only, and crowds have no form in YOLO's: what
is lost is counted. Exit code: 0 without errors in the data, 1 with some (good boxes are converted all the same), 2 if
it could not be done.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # works without installing the package

from dense.errors import ConfigError, DatasetError, DenseError
from dense.io import check_folder, write_json
from dense.io.boxes import KINDS, LEVELS, BoxFindings, BoxSet, check_pictures
from dense.io.coco_file import read_coco_file, write_coco_file
from dense.io.voc import read_voc, write_voc
from dense.io.yolo import read_yolo, write_yolo

FORMS = ("coco", "yolo", "voc")


def find_form(path: Path) -> str:
    """'coco', 'yolo' or 'voc'; DatasetError if it cannot be told."""
    if path.is_file() and path.suffix.lower() == ".json":
        return "coco"
    if path.is_dir():
        if next(path.rglob("*.xml"), None):
            return "voc"
        if next(path.rglob("*.txt"), None):
            return "yolo"
        raise DatasetError(f"{path}: holds neither .xml nor .txt files. Remedy: --from, or another folder")
    raise DatasetError(f"{path}: is not there, or neither a .json file nor a folder")


def read_boxes(path: Path, form: str, images: Path | None = None, classes: tuple[str, ...] | None = None,
               origin: int = 1) -> tuple[BoxSet, BoxFindings]:
    """Boxes of any of the forms, and what was found in them."""
    if form == "coco":
        return read_coco_file(path)
    return read_yolo(path, images) if form == "yolo" else read_voc(path, classes, origin)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="IN", type=Path, help="a .json file or a folder")
    parser.add_argument("--from", dest="form", choices=FORMS, help="what IN is (seen from it)")
    parser.add_argument("--to", choices=FORMS, help="convert to; without it the data is checked alone")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="a .json file, or a folder")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of the pictures: they are looked at, too")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="of VOC: names in their order, a line each "
                        "(default: those that occur, by the alphabet)")
    parser.add_argument("--origin", type=int, choices=(0, 1), default=1, help="of VOC's corners: 1 as in VOC, the last "
                        "pixel named is inside (default); 0 as many programs write them")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every finding to this file")
    parser.add_argument("--full", action="store_true", help="list every finding, not three of each kind")
    args = parser.parse_args(argv)
    if bool(args.to) != bool(args.output):
        parser.error("--to and -o go together")
    return args


def _check_output(output: Path, form: str, overwrite: bool) -> None:
    if form == "coco":
        if output.suffix.lower() != ".json":
            raise ConfigError(f"-o {output}: COCO's boxes are one .json file")
        there = output.exists()
        check_folder(output.resolve().parent)
    else:
        there = any((output / part).exists() for part in ("labels" if form == "yolo" else "Annotations", "classes.txt"))
        check_folder(output)
    if there and not overwrite:
        raise DatasetError(f"{output}: holds labels already. Remedy: --overwrite, or another name")


def _show(found: BoxSet, findings: BoxFindings, full: bool) -> None:
    boxes = [b for p in found.pictures for b in p.boxes]
    print(f"{found.origin}: {len(found.pictures)} pictures, {len(boxes)} boxes, {len(found.classes)} classes")
    for kind, items in findings.by_kind().items():
        level, handled, remedy = KINDS[kind]
        print(f"{level}: {kind}: {len(items)}. {handled[0].upper()}{handled[1:]}. Remedy: {remedy}")
        for item in items if full else items[:3]:
            print(f"    {item}")
        if not full and len(items) > 3:
            print(f"    ... and {len(items) - 3} more (--full lists them)")
    print(", ".join(f"{findings.count(level)} {level}s" for level in LEVELS))


def main(argv: Sequence[str] | None = None) -> int:
    """Check, convert; returns the exit code."""
    args = _arguments(argv)
    try:
        classes = None
        if args.classes:
            classes = tuple(ln.strip() for ln in args.classes.read_text(encoding="utf-8").splitlines() if ln.strip())
        if args.to:
            _check_output(args.output, args.to, args.overwrite)
        found, findings = read_boxes(args.input, args.form or find_form(args.input), args.images, classes, args.origin)
        if args.images:
            check_pictures(found, args.images, findings)
        _show(found, findings, args.full)
        if args.json:
            write_json(args.json, findings.to_dict())
        if args.to == "coco":
            write_coco_file(found, args.output)
            lost = {}
        elif args.to:
            lost = write_yolo(found, args.output) if args.to == "yolo" else write_voc(found, args.output, args.origin)
        if args.to:
            usable = sum(len(p.usable()) for p in found.pictures)
            print(f"{usable - lost.get('crowd', 0)} boxes written to {args.output}"
                  + "".join(f"; {count} {kind}s not kept" for kind, count in lost.items()))
    except (DenseError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if findings.count("error") else 0


if __name__ == "__main__":
    sys.exit(main())
