"""What an evaluation of folders leaves behind: tables, curves, scatter plots, worst cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dense.errors import ImageError
from dense.evaluation.curves import draw_curves, draw_scatter
from dense.evaluation.drawing import corrections_row, corrections_sheet
from dense.evaluation.folder import Evaluation, Result, read_pair
from dense.evaluation.hce import corrections
from dense.evaluation.measures import MEASURES
from dense.evaluation.saliency import stretch
from dense.evaluation.skeletons import SkeletonCache
from dense.evaluation.tables import digits, latex, markdown, per_image_csv, per_image_json, summary_json
from dense.io import list_images, read_image, write_image, write_json, write_text

WORST_BY = ("HCE", "MAE")


def write_report(evaluation: Evaluation, folder: Path, worst: int = 6, worst_by: Sequence[str] | None = None) -> None:
    """Write everything into ``folder``, a folder in it for each method; files of the same name are replaced.

    Pictures of an earlier report that this one does not have are removed, or they would be taken for its own.

    Args:
        evaluation: what to write.
        folder: where to.
        worst: images on a sheet of the worst ones, 0 for no sheets.
        worst_by: measures that say which are worst; by default HCE and MAE, or the first one.

    Raises:
        DenseError: a file that cannot be written.
    """
    names, results = evaluation.settings.names, evaluation.results
    write_json(folder / "summary.json", summary_json(evaluation))
    write_text(folder / "summary.md", markdown(evaluation))
    write_text(folder / "summary.tex", latex(evaluation))
    if not draw_curves(results, folder / "curves.png"):
        (folder / "curves.png").unlink(missing_ok=True)
    for name in MEASURES:
        path = folder / f"scatter_{name}.png"
        wanted = name in names and name != "maxF_image"  # of single images the same as maxF
        if not (wanted and draw_scatter(results, name, path)):
            path.unlink(missing_ok=True)
    pictures = evaluation.pictures or {}
    if isinstance(pictures, Path):
        pictures = {path.stem: path for path in list_images(pictures)}
    for result in results:
        if not result.rows:
            continue
        own = folder / result.method.key
        write_text(own / "per_image.csv", per_image_csv(result, names))
        write_json(own / "per_image.json", per_image_json(result, names))
        chosen = worst_by or [name for name in WORST_BY if name in names] or names[:1]
        for name in MEASURES:
            wanted = worst and name in chosen
            sheet = worst_sheet(evaluation, result, name, worst, pictures) if wanted else None
            if sheet is not None:
                write_image(own / f"worst_{name}.png", sheet)
            else:
                (own / f"worst_{name}.png").unlink(missing_ok=True)


def worst_sheet(
    evaluation: Evaluation, result: Result, name: str, count: int, pictures: Mapping[str, Path]
) -> np.ndarray | None:
    """The ``count`` worst images of a method by a measure, with their corrections; ``pictures`` by name.

    uint8 RGB, or None if none of their files can be read any more.
    """
    sign = 1 if MEASURES[name].higher else -1
    rows = sorted(result.rows, key=lambda row: (sign * row[name], row["name"]))[:count]
    skeletons = SkeletonCache(evaluation.settings.skeletons)
    strips = []
    for row in rows:
        try:
            pred, gt = read_pair(*result.method.pairs[row["name"]], evaluation.settings.resize)
            image = read_image(pictures[row["name"]]) if row["name"] in pictures else None
        except ImageError:  # it was there a moment ago; a sheet is not worth failing for
            continue
        if evaluation.settings.stretched:
            pred = np.rint(stretch(pred) * 255).astype(np.uint8)
        found = corrections(pred, gt, skeletons)
        parts = "FP {}+{}  FN {}+{}".format(*found.counts)
        text = f"{row['name']}   {name} {row[name]:.{digits(name)}f}   points+regions: {parts}"
        strips.append(corrections_row(pred, gt, found, text, image))
    return corrections_sheet(strips) if strips else None
