"""Training on smaller pictures first."""
from __future__ import annotations

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook

from dense.engine.hooks.stopping import TimeBudget
from dense.errors import ConfigError
from dense.registry import HOOKS


@HOOKS.register_module()
class GrowingSize(Hook):
    """Feeds training batches at ``scale`` times the task's size until ``until`` of the training is over.

    Steps are then 1 / scale^2 as long, which buys more of them while the coarse is learned (progressive resizing).
    The share counts iterations, or seconds where a ``TimeBudget`` ends the run sooner. Validation keeps the full
    size. scale: in (0, 1]; the sides are rounded to multiples of ``divisor``. until: in [0, 1].
    """

    def __init__(self, scale: float = 2 / 3, until: float = 0.5, divisor: int = 32):
        if not 0 < scale <= 1 or not 0 <= until <= 1:
            raise ConfigError(f"GrowingSize(scale={scale}, until={until}): scale lies in (0, 1], until in [0, 1]")
        self.scale, self.until, self.divisor = scale, until, divisor

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        share = runner.iter / runner.max_iters
        for hook in runner.hooks:
            if isinstance(hook, TimeBudget):
                share = max(share, 1 - hook.seconds_left() / hook.seconds)
        early = torch.tensor(float(share < self.until))
        broadcast(early)  # clocks differ between processes
        model = runner.plain_model
        small = None
        if early:
            small = tuple(max(self.divisor, self.divisor * round(s * self.scale / self.divisor))
                          for s in model.task.size)
        model.data_preprocessor.train_size = small
