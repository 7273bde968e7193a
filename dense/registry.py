"""Registries of scope ``dense``, children of mmengine's.

Every kind has a child so that a name is looked up here first and then in mmengine; without one, each
build of that kind would warn. ``locations`` lets a registry import the modules that fill it on first use.
"""
from mmengine import registry as _root
from mmengine.registry import Registry


def _child(kind: str, parent: Registry, *locations: str) -> Registry:
    return Registry(kind, parent=parent, scope="dense", locations=list(locations))


MODELS = _child("model", _root.MODELS, "dense.models")
MODEL_WRAPPERS = _child("model wrapper", _root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child("weight initializer", _root.WEIGHT_INITIALIZERS)
TASK_UTILS = _child("task util", _root.TASK_UTILS)

DATASETS = _child("dataset", _root.DATASETS, "dense.datasets.cutout", "dense.datasets.erase")
TRANSFORMS = _child("transform", _root.TRANSFORMS, "dense.datasets.transforms")
DATA_SAMPLERS = _child("data sampler", _root.DATA_SAMPLERS, "dense.datasets.sampler")
FUNCTIONS = _child("function", _root.FUNCTIONS)

METRICS = _child("metric", _root.METRICS, "dense.evaluation.metrics", "dense.evaluation.erase_metrics")
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
