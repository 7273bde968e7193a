"""``Inferencer``: a network ready for use, from a name or a bundle, for whatever holds pictures."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dense.backends import Bundle, is_bundle, open_session, read_bundle
from dense.errors import ConfigError, DenseError, ImageError
from dense.inference.network import Network
from dense.inference.pipeline import Failure, Pipeline, Work, default_jobs, default_memory
from dense.inference.results import RESULTS, Result
from dense.inference.sources import IDLE, Item, Source, find_source
from dense.tasks import task_from_dict

LOGGER = logging.getLogger("dense")


class Inferencer:
    """A network with everything around it.

    name_or_bundle: a bundle's folder (neither torch nor mmengine is needed then); or a name with weights
        (``'isnet@cutouts'``), a name or config file together with ``weights``, or a built model.
    weights: .safetensors, .pth or .onnx, for names and configs.
    device: 'cpu', 'cuda', 'cuda:1', 'mps' ...; None takes the best there is. One that was asked for and is not there is
        an error.
    backend: for bundles 'auto' (None), 'onnxruntime' or 'openvino'; for names 'torch'.
    mode: of the task, None takes its usual one. Of cut-outs: 'global' (stretched to the task's size), 'whole' (at its
        own resolution) or 'tiled' (global, then tiles of it where it is unsure, for pictures larger than the task's
        size). Of semantic segmentation: 'global' (scaled to the task's size), 'whole' or 'sliding' (overlapping windows
        of the task's size). Of erasing: 'windows' (around what is masked), 'tiles' (the same, all of the task's size),
        'whole'. Of volumes: 'mirrored' (each patch in all its mirror images, averaged) or 'plain'.
    batch: windows that the network is given at once. threads: of the network, on CPU. jobs: threads that decode and
    encode. max_memory: bytes that pictures on their way may take, or what is kept beside a volume's values; the
    network's own memory is not counted.
    task: entries of the task to replace, for example ``dict(min_max=True, cut=True)``: cut-outs exactly as the
    published script makes them (a picture without a subject then gets one made of noise).
    input_alpha: False takes transparent inputs as if they were opaque. half: of volumes, sums over patches in float16:
    less memory, and borders between classes may differ a little.

    ``model(picture)`` returns a ``Result`` of the task's kind (``CutoutResult``, ``SegmentResult`` ...);
    ``model(pictures)`` a ``Results`` iterator in the order of the input:

        alpha = Inferencer("isnet@cutouts")("photo.jpg").alpha
        for result in Inferencer("bundle")("photos", recursive=True):
            result.save(f"out/{Path(result.source).stem}.png")

    Raises ConfigError, WeightsError, BundleError or MissingDependencyError that say what is wrong.
    """

    def __init__(self, name_or_bundle: Any, weights: str | Path | None = None, device: str | None = None,
                 backend: str | None = None, mode: str | None = None, batch: int = 1, threads: int | None = None,
                 jobs: int | None = None, max_memory: int | None = None,
                 task: Mapping[str, Any] | None = None, input_alpha: bool = True, half: bool = False):
        for name, value in (("threads", threads), ("jobs", jobs), ("max_memory", max_memory)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}: must be at least 1")
        if device is not None:
            device = f"cuda:{device}" if type(device) is int else str(device)  # a torch.device too
            if not device:
                raise ConfigError("device '' is none. Remedy: cpu, cuda, cuda:1, mps, or leave it out")
        is_path = isinstance(name_or_bundle, str | Path)
        if is_path and _means_bundle(name_or_bundle, weights):
            if weights is not None:
                raise ConfigError(f"{name_or_bundle}: a bundle holds its weights. Remedy: leave out weights")
            if backend == "torch":
                raise ConfigError(f"{name_or_bundle}: a bundle does not run on torch. Remedy: backend 'auto', or the "
                                  "model's name in place of the bundle")
            bundle = read_bundle(name_or_bundle)
            self.session = open_session(bundle, backend or "auto", device, threads)
            self.name, self.task, self.weights = bundle.name, bundle.task, f"bundle {bundle.folder}"
            self.weights_path = None
        else:
            bundle = None
            self._open_model(str(name_or_bundle) if is_path else name_or_bundle, weights, device, backend, threads)
            self.weights_path = _file_of(name_or_bundle, weights)
        if self.task.kind not in RESULTS:
            raise ConfigError(f"{self.name}: its task {self.task.kind!r} has no results. Remedy: register_result")
        if task:
            try:
                self.task = task_from_dict({**self.task.to_dict(), **task})
            except ValueError as error:
                raise ConfigError(f"{self.name}: {error}") from None
        self.input_alpha, self.half, self.is_volume = input_alpha, half, self.task.kind == "volume"
        if half and not self.is_volume:
            raise ConfigError(f"{self.name}: half is about sums over the patches of volumes. Remedy: leave it out")
        self.mode, self.bundle = mode or self._usual_mode(bundle), bundle
        try:
            self.task.check_mode(self.mode)
        except ValueError as error:
            raise ConfigError(f"{error} (task {self.task.kind} of {self.name})") from None
        self.network = Network(self.session, batch, bundle)
        self.network.check_size(self.task.plan(self.task.size, self.mode).size)
        self.jobs = jobs or default_jobs()
        self.memory, self.strict = max_memory or default_memory(), max_memory is not None

    def _usual_mode(self, bundle: Bundle | None) -> str:
        fixed = bundle and all(low == high for low, high in bundle.limits(bundle.inputs[0])[-2:])
        return (fixed and self.task.fixed_mode) or self.task.modes[0]

    def _open_model(self, model: Any, weights: str | Path | None, device: str | None, backend: str | None,
                    threads: int | None) -> None:
        if backend not in (None, "auto", "torch"):
            raise ConfigError(f"backend {backend!r} runs bundles, not names. Remedy: dense export, then give the "
                              "bundle's folder; or backend 'torch'")
        try:
            import torch

            from dense.backends.torch import TorchSession
            from dense.models.build import build_model
            from dense.models.fold import fold_batchnorm
        except ImportError as error:
            from dense.errors import MissingDependencyError

            raise MissingDependencyError(f"building {model!r} needs PyTorch and mmengine, which cannot be imported "
                                         f"({error}). Remedy: install them, or run a bundle") from None
        if isinstance(model, torch.nn.Module):
            self.name, self.weights = type(model).__name__, "weights of the given model"
        else:
            if not isinstance(model, str | Mapping) and not hasattr(model, "filename"):  # mmengine's Config has one
                raise ConfigError(f"{type(model).__name__} is neither a model's name, a config, a built model nor a "
                                  "bundle's folder. Remedy: a name of `dense models`")
            text = model if isinstance(model, str) else "config"
            if weights is None and "@" not in text:
                from dense.models.names import find_name
                from dense.weights.store import list_found

                if isinstance(model, str) and not model.endswith(".py"):
                    find_name(model)  # an unknown name is the first thing to say
                raise ConfigError(f"{text!r} has no weights, its output would mean nothing. Remedy: weights=FILE, or "
                                  f"a name with weights: {', '.join(list_found())}")
            self.name = text
            self.weights = f"weights {weights}" if weights is not None else _words(text)
            model = build_model(model, weights=weights)
        if not hasattr(model, "graph"):
            raise ConfigError(f"{self.name} is no model of dense: it has no graph() and no task. Remedy: build_model")
        graph = model.graph()
        self.task = model.task
        graph = fold_batchnorm(graph, *graph.example(dict.fromkeys(graph.dynamic, 64) | {"batch": 1}))
        self.session = TorchSession(graph, device, threads)
        found = "no GPU was found" if self.session.device == "cpu" else "the best device there is"
        self.session.reason = "asked for" if device else found

    def describe(self) -> str:
        """One line for people: model, weights, backend, device, and why."""
        return f"{self.name} ({self.weights}), {self.session.describe()} ({self.session.reason})"

    def __call__(self, inputs: Any, recursive: bool = False, errors: str = "raise", mask: Any = None,
                 invert: bool = False, spacing: Sequence[float] | None = None, fill: float | None = None,
                 **options: Any) -> Result | Results:
        """Result of one picture or volume, or an iterator of results.

        inputs: see ``dense.inference.sources.find_source``, of volumes ``dense.inference.volume_sources``; a folder,
            pattern, list, video or iterable counts as many, however many it holds. recursive: with a folder, those
            below it too.
        errors: for many. 'raise': the good ones are returned, then a DenseError lists the others; 'skip': they are
            in ``results.failures`` only.
        mask, invert: for tasks that change what is masked; see ``dense.inference.masks.find_masks``.
        spacing: of arrays that are volumes, mm along z, y, x. fill: of volumes, value for voxels that are not finite,
            which else are an error. options: of volumes, see ``run``.

        Raises ImageError for one picture that cannot be read.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', not {errors!r}")
        source = self.finder(spacing, fill)(inputs, recursive)
        if mask is not None:
            from dense.inference.masks import find_masks, with_masks

            if not self.task.takes_mask:
                raise ConfigError(f"{self.name}: its task {self.task.kind} takes no mask; leave it out")
            source = replace(source, items=with_masks(source.items, find_masks(mask, invert)))
        results = Results(self.run(source, **options), source.total, errors == "raise" and not source.single)
        if not source.single:
            return results
        result = next(results, None)
        if result is None:
            (failure,) = results.failures
            raise ImageError(f"{failure.source}: {failure.reason}")
        results.close()
        return result

    def finder(self, spacing: Sequence[float] | None = None, fill: float | None = None) -> Callable[..., Source]:
        """The function that finds the inputs: ``find_source``, or the one of volumes. See ``__call__``."""
        if not self.is_volume:
            if spacing is not None or fill is not None:
                raise ConfigError(f"{self.name}: spacing and fill are about volumes. Remedy: leave them out")
            return find_source
        from dense.inference.volume_sources import VolumeSource

        return VolumeSource(self.task.channels, spacing, fill).find

    def run(self, source: Source | Iterator, then: Callable[[Result, Item], Any] | None = None,
            **options: Any) -> Iterator[Work]:
        """Works of a source in order, for those who also want what failed as it comes.

        then: called with (result, item) beside the network, in other threads, for instance to write files. options: of
        volumes, ``say``, ``probabilities`` and ``folder``; see ``VolumePipeline``.
        """
        items = source.items if isinstance(source, Source) else source
        if self.is_volume:
            from dense.inference.volume_pipeline import VolumePipeline

            return VolumePipeline(self.task, self.network, self.mode, self.memory if self.strict else None, self.half,
                                  self.memory // 4, then, **options).run(items)
        if options:
            raise ConfigError(f"{self.name}: {', '.join(options)} is about volumes. Remedy: leave it out")
        if not self.input_alpha:
            items = (item if item is IDLE else replace(item, load=lambda i=item: i.load().opaque()) for item in items)
        return Pipeline(self.task, self.network, self.mode, self.jobs, self.memory, self.strict, then).run(items)


def _file_of(name: Any, weights: str | Path | None) -> Path | None:
    """The file of a model's weights, where they were in one."""
    from dense.weights.store import locate

    if weights is not None:
        return locate(weights)
    return locate(name) if isinstance(name, str) and "@" in name else None


def _words(name: str) -> str:
    """For people: where the weights of a name are. WeightsError if there are none."""
    from dense.weights.store import find

    return find(name).words


def _means_bundle(name: str | Path, weights: object) -> bool:
    """Whether a bundle is meant, be it there or not, and not a model's name."""
    text, path = str(name), Path(name)
    looks_like_path = len(path.parts) > 1 and path.suffix != ".py"
    return is_bundle(path) or (weights is None and "@" not in text and (path.is_dir() or looks_like_path))


class Results:
    """Iterator of results in the order of the input; ``failures`` grows as it goes.

    total: number of inputs, where it is known.
    """

    def __init__(self, works: Iterator[Work], total: int | None, raises: bool):
        self._works, self.total, self._raises = works, total, raises
        self.failures: list[Failure] = []

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> Result:
        for work in self._works:
            if work.failure is None:
                return work.outcome
            self.failures.append(work.failure)
            LOGGER.warning("%s: %s", work.failure.source, work.failure.reason)
        if self._raises and self.failures:
            self._raises = False  # said once
            lines = "\n".join(f"  {f.source}: {f.reason}" for f in self.failures[:20])
            more = f"\n  ... and {len(self.failures) - 20} more" if len(self.failures) > 20 else ""
            raise DenseError(f"{len(self.failures)} inputs were not done, all others were:\n{lines}{more}")
        raise StopIteration

    def close(self) -> None:
        """End early: what is on its way is let go."""
        self._works.close()
