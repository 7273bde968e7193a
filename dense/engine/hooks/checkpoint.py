"""Checkpoints: ``iter_N.pth`` to resume from, ``best.safetensors`` to use."""
from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from dense.errors import ConfigError
from dense.registry import HOOKS
from dense.weights.files import write_weights


def better(new: float, old: float | None, rule: str) -> bool:
    """Whether ``new`` improves on ``old`` under ``rule``, 'greater' or 'less'."""
    return old is None or (new > old if rule == "greater" else new < old)


def trains(runner) -> bool:
    """Whether the runner is in training, rather than only validating (its loop is then not built)."""
    return runner._train_loop is not None and not isinstance(runner._train_loop, dict)


def monitored(metrics: dict | None, monitor: str, hook: Hook) -> float:
    """The value that a hook goes by; ConfigError if it was not computed."""
    if monitor not in (metrics or {}):
        raise ConfigError(f"{type(hook).__name__}: monitor {monitor!r} is not among the metrics "
                          f"{', '.join(metrics or {})}. Remedy: name one of them, or add it to val_evaluator")
    return metrics[monitor]


@HOOKS.register_module()
class SaveCheckpoint(Hook):
    """Saves every ``interval`` iterations and at the end, after the validation of that iteration if one is due.

    keep: how many ``iter_N.pth`` stay. monitor: the metric by which ``best.safetensors`` is chosen (weights
    as validated, so averaged ones with EMA, with the metrics inside); rule: 'greater' or 'less'.
    The best value lives in the checkpoint, so that a resumed run keeps it.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int, keep: int = 2, monitor: str = "maxF", rule: str = "greater"):
        self.interval, self.keep, self.monitor, self.rule = int(interval), keep, monitor, rule

    def before_train(self, runner) -> None:
        loop = runner.train_loop
        accumulate = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        for name, value in (("checkpoint interval", self.interval), ("val_interval", loop.val_interval)):
            if accumulate > 1 and value % accumulate:
                raise ConfigError(f"{name} {value} is not a multiple of accumulate={accumulate}: gradients in "
                                  "flight would be lost on resuming. Remedy: change one of them")

    def _validation_due(self, runner) -> bool:
        loop, done = runner.train_loop, runner.iter + 1
        return runner.val_loop is not None and done >= loop.val_begin and (
            done % loop.val_interval == 0 or done == loop.max_iters)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        done = runner.iter + 1
        last = done == runner.max_iters or runner.train_loop.stop_training
        if (done % self.interval == 0 or last) and not self._validation_due(runner):
            self._save(runner, done)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if not trains(runner):
            return
        done = runner.iter
        value = monitored(metrics, self.monitor, self)
        if better(value, runner.message_hub.runtime_info.get("best_value"), self.rule):
            runner.message_hub.update_info("best_value", float(value))
            runner.message_hub.update_info("best_iter", int(done))
            self._save_best(runner, done, metrics)
        if done % self.interval == 0 or done == runner.max_iters or runner.train_loop.stop_training:
            self._save(runner, done)

    def _save(self, runner, done: int) -> None:
        # `iter` in the file is the number of finished iterations
        runner.save_checkpoint(runner.work_dir, f"iter_{done}.pth", meta={"iter": done, "epoch": 0})
        if is_main_process():
            for old in saved_checkpoints(Path(runner.work_dir))[:-self.keep]:
                old.unlink(missing_ok=True)

    def _save_best(self, runner, done: int, metrics: dict) -> None:
        if not is_main_process():
            return
        from dense.engine.runner import weights_meta

        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        ema = next((h for h in runner.hooks if hasattr(h, "ema_model")), None)
        if ema is not None:
            model = ema.ema_model.module
        meta = weights_meta(runner.cfg) | {"iterations": done, "metrics": {
            k: v for k, v in metrics.items() if isinstance(v, int | float)}}
        write_weights(Path(runner.work_dir) / "best.safetensors", model.network.state_dict(), meta)


def saved_checkpoints(folder: Path) -> list[Path]:
    """``iter_N.pth`` files, oldest first. They are written atomically, so each one is whole."""
    return sorted((p for p in folder.glob("iter_*.pth") if p.stem[5:].isdigit()), key=lambda p: int(p.stem[5:]))
