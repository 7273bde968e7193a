"""Plans of nnU-Net, version 1 (plans.pkl) and 2 (plans.json, dataset.json), as a ``VolumeTask``."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import ConfigError
from dense.io.pickles import read_pickle
from dense.tasks.volume import VolumeTask

CONFIGURATION = "3d_fullres"
SCHEMES = {"CTNormalization": "ct", "ZScoreNormalization": "zscore", "NoNormalization": "none",
           "RescaleTo01Normalization": "range", "RGBTo01Normalization": "rgb"}
SCHEMES_V1 = {"CT": "ct", "noNorm": "none"}  # all others but CT2 are z-scores
RESAMPLING = "resample_data_or_seg_to_shape"
CASCADE = ("is a stage of a cascade, which takes the result of another network as well: that is not supported. Remedy: "
           "a 3d_fullres or 3d_lowres that was trained by itself")


@dataclass(frozen=True)
class NNUNetPlan:
    """What plans say about one configuration.

    pool: strides (z, y, x) of the coarser stages, fine to coarse. notes: what a person should know.
    """

    task: VolumeTask
    pool: tuple[tuple[int, int, int], ...]
    notes: tuple[str, ...] = ()


def read_plans(path: str | Path, dataset: str | Path | None = None, configuration: str = CONFIGURATION,
               mirror: Sequence[int] = (0, 1, 2)) -> NNUNetPlan:
    """The plan in a file, or in the folder of a model that nnU-Net trained.

    path: plans.json, plans.pkl, the .pkl beside a checkpoint of version 1, or a folder with one of the first two.
    dataset: dataset.json, which names channels and classes; by default the one in the same folder. Version 2 needs it.
    configuration: '3d_fullres' or '3d_lowres'. mirror: axes that were mirrored in training (checkpoints of version 2
    say so).

    Raises InputError for files that cannot be read, ConfigError for what is not supported: cascades, regions,
    two-dimensional configurations, other preprocessors and resampling functions.
    """
    path = Path(path)
    if path.is_dir():
        found = [p for p in (path / "plans.json", path / "plans.pkl") if p.is_file()]
        if not found:
            raise ConfigError(f"{path}: there is no plans.json and no plans.pkl. Remedy: name the folder of a trained "
                              "model (TRAINER__PLANS__CONFIGURATION), or the file")
        path = found[0]
    dataset = Path(dataset) if dataset else path.with_name("dataset.json")
    described = read_json(dataset) if dataset.is_file() else None
    if path.suffix != ".json":
        return plan_of_v1(read_pickle(path), described, configuration, path)
    if described is None:
        raise ConfigError(f"{dataset}: is not there, and {path.name} does not name classes and channels. Remedy: name "
                          "the dataset.json that nnU-Net keeps beside the plans")
    return plan_of_v2(read_json(path), described, configuration, mirror, path)


def read_json(path: Path) -> dict:
    """An object in a JSON file; ConfigError if it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Remedy: copy it again") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not an object. Remedy: name nnU-Net's plans.json or dataset.json")
    return values


def plan_of_v2(plans: Mapping, dataset: Mapping, configuration: str = CONFIGURATION, mirror: Sequence[int] = (0, 1, 2),
               origin: str | Path = "the plans") -> NNUNetPlan:
    """The plan in the contents of plans.json and dataset.json; see ``read_plans``."""
    with _Explained(origin):
        values = _configuration(plans, configuration, origin)
        if values.get("preprocessor_name", "DefaultPreprocessor") != "DefaultPreprocessor":
            raise ConfigError(f"{origin}: the preprocessor {values['preprocessor_name']} is not known, only "
                              "DefaultPreprocessor")
        if plans.get("label_manager", "LabelManager") != "LabelManager":
            raise ConfigError(f"{origin}: the label manager {plans['label_manager']} is not known, only LabelManager")
        order, order_z = _resampling(values, origin)
        size = values["patch_size"]
        if len(size) != 3:
            raise ConfigError(f"{origin}: {configuration} has patches of {len(size)} axes, a volume has 3. Remedy: "
                              "another configuration")
        kinds = [_known(SCHEMES, name, "normalisation", origin) for name in values["normalization_schemes"]]
        properties = plans.get("foreground_intensity_properties_per_channel",
                               plans.get("foreground_intensity_properties_by_modality", {}))
        names = dataset.get("channel_names", dataset.get("modality", {}))
        channels = tuple(str(names.get(str(i), f"channel {i}")) for i in range(len(kinds)))
        architecture = (values.get("architecture") or {}).get("arch_kwargs") or {}
        strides = values.get("pool_op_kernel_sizes") or architecture.get("strides") or [[1, 1, 1]]
        task = VolumeTask(
            size=size, spacing=values["spacing"], transpose=plans.get("transpose_forward", (0, 1, 2)),
            channels=channels, normalisation=kinds, masked=values["use_mask_for_norm"],
            intensities=[_intensities(properties[str(i)], "std") if kind == "ct" else ()
                         for i, kind in enumerate(kinds)],
            classes=classes_of(dataset, origin), generation=2, order=order, order_z=order_z, mirror=tuple(mirror or ()))
        return NNUNetPlan(task, _strides(strides[1:]))


def plan_of_v1(plans: Mapping, dataset: Mapping | None = None, configuration: str = CONFIGURATION,
               origin: str | Path = "the plans") -> NNUNetPlan:
    """The plan in the contents of plans.pkl, or of the .pkl beside a checkpoint; see ``read_plans``."""
    with _Explained(origin):
        plans = plans.get("plans", plans)
        if plans.get("preprocessor_name", "GenericPreprocessor") != "GenericPreprocessor":
            raise ConfigError(f"{origin}: the preprocessor {plans['preprocessor_name']} is not known, only "
                              "GenericPreprocessor")
        stages = plans["plans_per_stage"]
        if configuration not in (CONFIGURATION, "3d_lowres"):
            raise ConfigError(f"{origin}: {configuration} {CASCADE}" if "cascade" in configuration else
                              f"{origin}: no configuration is called {configuration!r}. Remedy: 3d_fullres, 3d_lowres")
        if configuration == "3d_lowres" and len(stages) == 1:
            raise ConfigError(f"{origin}: has one stage, 3d_fullres, and no 3d_lowres")
        stage = stages[max(stages) if configuration == CONFIGURATION else min(stages)]
        count = int(plans["num_modalities"])
        schemes = [plans["normalization_schemes"][i] for i in range(count)]
        if "CT2" in schemes:
            raise ConfigError(f"{origin}: the normalisation CT2 is not supported; CT, nonCT and noNorm are")
        kinds = [SCHEMES_V1.get(scheme, "zscore") for scheme in schemes]
        properties = plans["dataset_properties"].get("intensityproperties") if "ct" in kinds else None
        names = (dataset or {}).get("modality") or plans.get("modalities") or {}
        channels = [str(names.get(str(i), names.get(i, f"channel {i}"))) for i in range(count)]
        classes = classes_of(dataset, origin) if dataset else \
            ("background", *(f"class {i}" for i in range(1, int(plans["num_classes"]) + 1)))
        if len(classes) != int(plans["num_classes"]) + 1:
            raise ConfigError(f"{origin}: is of {plans['num_classes']} classes and the background, dataset.json names "
                              f"{len(classes)}. Remedy: the dataset.json of this training")
        task = VolumeTask(
            size=tuple(int(s) for s in stage["patch_size"]),
            spacing=tuple(float(s) for s in stage["current_spacing"]),
            transpose=tuple(int(a) for a in plans.get("transpose_forward", (0, 1, 2))), channels=_unique(channels),
            normalisation=kinds, masked=[bool(plans["use_mask_for_norm"][i]) for i in range(count)],
            intensities=[_intensities(properties[i], "sd") if kind == "ct" else () for i, kind in enumerate(kinds)],
            classes=classes, generation=1)
        notes = () if dataset else ("the plans of nnU-Net 1 do not name the classes: they are called class 1, class 2 "
                                    "... Remedy: put the dataset.json of the training beside plans.pkl",)
        return NNUNetPlan(task, _strides(stage["pool_op_kernel_sizes"]), notes)


def classes_of(dataset: Mapping, origin: str | Path) -> tuple[str, ...]:
    """Names by label, of dataset.json of either version; ConfigError for regions."""
    labels = dataset["labels"]
    if dataset.get("regions_class_order") or any(isinstance(v, list | tuple) for v in labels.values()):
        raise ConfigError(f"{origin}: was trained on regions, classes that overlap: that is not supported")
    if all(str(k).isdigit() for k in labels):  # version 1: label -> name
        named = {int(k): str(v) for k, v in labels.items()}
    else:
        named = {int(v): str(k) for k, v in labels.items() if k != "ignore"}  # no network has an output for that
    if sorted(named) != list(range(len(named))):
        raise ConfigError(f"{origin}: the labels {sorted(named)} are not 0, 1, 2 ...: dataset.json is not nnU-Net's")
    return tuple(named[i] for i in range(len(named)))


def _configuration(plans: Mapping, name: str, origin: str | Path) -> dict:
    """The entries of a configuration with those that it inherits."""
    known = plans["configurations"]
    if name not in known:
        raise ConfigError(f"{origin}: has no configuration {name!r}; it has {', '.join(known)}. Remedy: name one")
    values, parent, seen = dict(known[name]), known[name].get("inherits_from"), {name}
    while parent:
        if parent in seen or parent not in known:
            raise ConfigError(f"{origin}: {name} inherits from {parent}, which is not to be had")
        seen.add(parent)
        values, parent = {**known[parent], **values}, known[parent].get("inherits_from")
    if values.get("previous_stage"):
        raise ConfigError(f"{origin}: {name} {CASCADE}")
    return values


def _resampling(values: Mapping, origin: str | Path) -> tuple[int, int]:
    """Orders of the splines that resample data; ConfigError for functions and settings that are not followed."""
    for kind in ("data", "probabilities"):
        function = values.get(f"resampling_fn_{kind}", RESAMPLING)
        if function != RESAMPLING:
            raise ConfigError(f"{origin}: {kind} were resampled by {function}, which is not supported; "
                              f"{RESAMPLING} is")
    data = values.get("resampling_fn_data_kwargs", {})
    probabilities = values.get("resampling_fn_probabilities_kwargs", {})
    found = [(p.get("order", o), p.get("order_z", 0)) for p, o in ((data, 3), (probabilities, 1))]
    if found[1] != (1, 0) or any(p.get("force_separate_z") is not None for p in (data, probabilities)):
        raise ConfigError(f"{origin}: probabilities are resampled by order {found[1][0]}, along z by order "
                          f"{found[1][1]}, or force_separate_z is set: supported are 1, 0, and None")
    return found[0]


def _intensities(properties: Mapping, deviation: str) -> tuple[float, ...]:
    return tuple(float(properties[k]) for k in ("percentile_00_5", "percentile_99_5", "mean", deviation))


def _strides(strides: Sequence) -> tuple[tuple[int, int, int], ...]:
    return tuple(tuple(int(s) for s in stride) for stride in strides)


def _unique(names: Sequence[str]) -> list[str]:
    return [f"{n} {i}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _known(table: Mapping[str, str], name: str, what: str, origin: str | Path) -> str:
    if name not in table:
        raise ConfigError(f"{origin}: the {what} {name} is not supported; {', '.join(table)} are")
    return table[name]


class _Explained:
    """Turns what missing or odd entries raise into a ConfigError that names the file."""

    def __init__(self, origin: str | Path):
        self.origin = origin

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KeyError):
            raise ConfigError(f"{self.origin}: the entry {error} is missing. Remedy: check that it is nnU-Net's, and "
                              "complete") from None
        if isinstance(error, TypeError | ValueError | AttributeError | IndexError) and \
                not isinstance(error, ConfigError):
            raise ConfigError(f"{self.origin}: not understood ({error}). Remedy: check that it is nnU-Net's, and "
                              "complete") from None
