"""Shared by all configs: loops, hooks and logs that do not depend on the task. What is saved by which figure does."""
from mmengine.hooks import IterTimerHook, LoggerHook, ParamSchedulerHook, RuntimeInfoHook
from mmengine.runner import TestLoop, ValLoop
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer

val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)

default_hooks = dict(
    runtime_info=dict(type=RuntimeInfoHook), timer=dict(type=IterTimerHook), sampler_seed=None,
    logger=dict(type=LoggerHook, interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type=ParamSchedulerHook))
visualizer = dict(type=Visualizer, vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)])

randomness = dict(seed=0)
amp = None
ema = None
accumulate = 1
baselines = ()
