"""Registries of scope ``dense``, children of mmengine's.

Every kind has a child so that a name is looked up here first and then in mmengine; without one, each
build of that kind would warn. ``locations`` lets a registry import the modules that fill it on first use.
"""
from importlib import import_module

from mmengine import registry as _root
from mmengine.registry import Registry


class DenseRegistry(Registry):
    """mmengine's registry, with names whose module is imported when they are asked for: it needs an extra."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._late: dict[str, str] = {}

    def register_late(self, name: str, module: str) -> None:
        """``name`` is registered by importing ``module``."""
        self._late[name] = module

    def get(self, key: str):
        self.import_from_location()
        name = key.removeprefix(f"{self.scope}.") if isinstance(key, str) else key
        if name in self._late and name not in self.module_dict:
            import_module(self._late[name])
        return super().get(key)


def _child(kind: str, parent: Registry, *locations: str) -> DenseRegistry:
    return DenseRegistry(kind, parent=parent, scope="dense", locations=list(locations))


MODELS = _child("model", _root.MODELS, "dense.models")
MODEL_WRAPPERS = _child("model wrapper", _root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child("weight initializer", _root.WEIGHT_INITIALIZERS)
TASK_UTILS = _child("task util", _root.TASK_UTILS)

DATASETS = _child("dataset", _root.DATASETS, "dense.datasets.cutout", "dense.datasets.detection",
                  "dense.datasets.erase", "dense.datasets.semantic", "dense.datasets.volume")
TRANSFORMS = _child("transform", _root.TRANSFORMS, "dense.datasets.transforms")
DATA_SAMPLERS = _child("data sampler", _root.DATA_SAMPLERS, "dense.datasets.sampler")
FUNCTIONS = _child("function", _root.FUNCTIONS)

METRICS = _child("metric", _root.METRICS, "dense.evaluation.metrics", "dense.evaluation.detection_metrics",
                 "dense.evaluation.erase_metrics", "dense.evaluation.semantic_metrics",
                 "dense.evaluation.volume_metrics")
EVALUATOR = _child("evaluator", _root.EVALUATOR)

RUNNERS = _child("runner", _root.RUNNERS, "dense.engine.runner")
RUNNER_CONSTRUCTORS = _child("runner constructor", _root.RUNNER_CONSTRUCTORS)
LOOPS = _child("loop", _root.LOOPS)
HOOKS = _child("hook", _root.HOOKS, "dense.engine.hooks")
OPTIMIZERS = _child("optimizer", _root.OPTIMIZERS)
OPTIM_WRAPPERS = _child("optimizer wrapper", _root.OPTIM_WRAPPERS, "dense.compat.optim")
OPTIM_WRAPPER_CONSTRUCTORS = _child("optimizer wrapper constructor", _root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child("parameter scheduler", _root.PARAM_SCHEDULERS)
LOG_PROCESSORS = _child("log processor", _root.LOG_PROCESSORS)
VISUALIZERS = _child("visualizer", _root.VISUALIZERS)
VISBACKENDS = _child("vis backend", _root.VISBACKENDS)
STRATEGIES = _child("strategy", _root.STRATEGIES)
INFERENCERS = _child("inferencer", _root.INFERENCERS)
