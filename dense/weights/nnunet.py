"""What checkpoints of nnU-Net say beside the weights: the plan, as ``VolumeTask``, and the strides."""
from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dense.errors import ConfigError, InputError, WeightsError

LOGGER = logging.getLogger("dense")
POOL = 5  # strides of STU-Net, whose trainers cut longer lists and fill up shorter ones
CHECKPOINTS = ("checkpoint_final.pth", "model_final_checkpoint.model", "checkpoint_best.pth", "model_best.model")


def describe_checkpoint(content: Mapping, path: Path) -> dict:
    """Task and network settings, as they are stored with our own weights; {} where the file is not nnU-Net's.

    Version 2 keeps the plans in the checkpoint. Version 1 keeps them in FILE.model.pkl beside it, or in plans.pkl in
    the folder above; without either, there is only the network.

    Raises WeightsError for plans that are damaged, unsafe or not supported.
    """
    try:
        plan = _plan(content, path)
    except (ConfigError, InputError) as error:
        raise WeightsError(f"{path}: the plan of this network cannot be followed: {error}") from None
    if plan is None:
        return {}
    for note in plan.notes:
        LOGGER.warning("%s: %s", path, note)
    pool = [list(stride) for stride in plan.pool[:POOL]]
    pool += [[1, 1, 1]] * (POOL - len(pool))
    return {"task": plan.task.to_dict(), "network": {
        "in_channels": len(plan.task.channels), "num_classes": len(plan.task.classes), "pool": pool}}


def _plan(content: Mapping, path: Path) -> Any:
    from dense.tasks.nnunet import CONFIGURATION, plan_of_v1, plan_of_v2, read_json, read_pickle

    arguments = content.get("init_args")
    if "network_weights" in content and isinstance(arguments, Mapping) and "plans" in arguments:
        mirror = content.get("inference_allowed_mirroring_axes")
        return plan_of_v2(arguments["plans"], arguments.get("dataset_json") or {},
                          arguments.get("configuration", CONFIGURATION), (0, 1, 2) if mirror is None else mirror, path)
    if path.suffix == ".model" and "state_dict" in content:
        beside = (path.with_name(f"{path.name}.pkl"), path.parent.parent / "plans.pkl", path.with_name("plans.pkl"))
        found = next((p for p in beside if p.is_file()), None)
        if found is None:
            LOGGER.warning("%s: neither %s nor plans.pkl is there: taken for the plan of the published weights", path,
                           beside[0].name)
            return None
        dataset = next((p for p in (found.with_name("dataset.json"), beside[1].with_name("dataset.json"))
                        if p.is_file()), None)
        lowres = "3d_lowres" in map(str, (p.name for p in path.absolute().parents))
        plan = plan_of_v1(read_pickle(found), read_json(dataset) if dataset else None,
                          "3d_lowres" if lowres else CONFIGURATION, found)
        return _with_published_names(plan) if dataset is None else plan
    return None


def _with_published_names(plan: Any) -> Any:
    """The plan with its classes named, if it is that of the published STU-Net: version 1 of plans names none."""
    from dataclasses import replace

    from dense.models.stunet import default_task

    published = default_task()
    own = replace(plan.task, classes=published.classes, palette=published.palette, channels=published.channels) \
        if len(plan.task.classes) == len(published.classes) and len(plan.task.channels) == 1 else plan.task
    return replace(plan, task=published, notes=()) if own == published else plan


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint in the folder of a model that nnU-Net trained, or of one of its folds.

    WeightsError where there is none, or several folds to choose from.
    """
    folds = sorted(p for p in folder.glob("fold_*") if p.is_dir())
    places = [(p, [p / name for name in CHECKPOINTS if (p / name).is_file()] or sorted((*p.glob("*.model"),
               *p.glob("*.pth")))) for p in (folds or [folder])]
    places = [(place, files) for place, files in places if files]
    if not places:
        raise WeightsError(f"{folder}: no checkpoint of nnU-Net in it ({', '.join(CHECKPOINTS)}). Remedy: name the "
                           "folder of a trained model (TRAINER__PLANS__CONFIGURATION), of a fold, or the file")
    if len(places) > 1:
        raise WeightsError(f"{folder}: has {len(places)} folds ({', '.join(p.name for p, _ in places)}), which are "
                           f"networks of their own. Remedy: name one, {places[0][1][0]}")
    post = [p for p in (folder / "postprocessing.json", folder / "postprocessing.pkl") if p.is_file()]
    if post:
        LOGGER.warning("%s: %s is left out: results are those of the network", folder, post[0].name)
    return places[0][1][0]


def name_of_checkpoint(path: Path) -> str | None:
    """The data set's folder for a checkpoint in nnU-Net's folders; None elsewhere."""
    parents = [p.name for p in path.absolute().parents]
    return next((p for p in parents[:4] if re.match(r"(Dataset|Task)\d{3}_", p)), None)
