"""Measures of predicted masks, on numpy arrays alone.

Loaded on first use, so that one measure does not cost the imports of another.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dense.evaluation.alignment import e_adaptive, e_curve, e_curve_of
    from dense.evaluation.boundary import boundary_iou
    from dense.evaluation.detection import average_precision
    from dense.evaluation.folder import evaluate_folders
    from dense.evaluation.hce import HCE, Corrections, corrections, human_correction_efforts, skeleton
    from dense.evaluation.measures import evaluate_pair, summarise
    from dense.evaluation.saliency import (
        PRCounts,
        adaptive_f,
        f_curve,
        iou,
        mae,
        max_f,
        mean_f,
        precision_recall,
        stretch,
    )
    from dense.evaluation.semantic import SemanticCounts, count_semantic, draw_confusion, summarise_semantic
    from dense.evaluation.skeletons import SkeletonCache
    from dense.evaluation.structure import s_measure
    from dense.evaluation.weighted import weighted_f

_MODULES = {
    "e_adaptive": "alignment",
    "e_curve": "alignment",
    "e_curve_of": "alignment",
    "boundary_iou": "boundary",
    "average_precision": "detection",
    "evaluate_folders": "folder",
    "HCE": "hce",
    "Corrections": "hce",
    "corrections": "hce",
    "human_correction_efforts": "hce",
    "skeleton": "hce",
    "evaluate_pair": "measures",
    "summarise": "measures",
    "PRCounts": "saliency",
    "adaptive_f": "saliency",
    "f_curve": "saliency",
    "iou": "saliency",
    "mae": "saliency",
    "max_f": "saliency",
    "mean_f": "saliency",
    "precision_recall": "saliency",
    "stretch": "saliency",
    "SemanticCounts": "semantic",
    "count_semantic": "semantic",
    "draw_confusion": "semantic",
    "summarise_semantic": "semantic",
    "SkeletonCache": "skeletons",
    "s_measure": "structure",
    "weighted_f": "weighted",
}

__all__ = [
    "HCE",
    "Corrections",
    "PRCounts",
    "SemanticCounts",
    "SkeletonCache",
    "adaptive_f",
    "average_precision",
    "boundary_iou",
    "corrections",
    "count_semantic",
    "draw_confusion",
    "e_adaptive",
    "e_curve",
    "e_curve_of",
    "evaluate_folders",
    "evaluate_pair",
    "f_curve",
    "human_correction_efforts",
    "iou",
    "mae",
    "max_f",
    "mean_f",
    "precision_recall",
    "s_measure",
    "skeleton",
    "stretch",
    "summarise",
    "summarise_semantic",
    "weighted_f",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
