"""mmengine's Runner with checkpoints that are safe to load and written whole, and processes on CPU."""
from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, master_only
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner

from dense.compat.distributed import convert_sync_batchnorm, launched_by_torchrun, start_processes
from dense.engine.explain import config_errors, intact
from dense.engine.hooks.checkpoint import saved_checkpoints
from dense.errors import DenseError, WeightsError
from dense.models.build import load_network_weights, read_weights_lazily
from dense.registry import RUNNERS
from dense.tasks import as_task
from dense.weights.files import read_checkpoint, write_checkpoint

# warnings about what is meant to be: metrics without a prefix (their names are unique), and accumulation with
# BatchNorm
NO_NEWS = ("prefix is not set", "Gradient accumulative may")


def weights_meta(cfg: Mapping) -> dict:
    """What travels with weights: network class and settings, and the task (plain values)."""
    network = dict(cfg["model"]["network"])
    cls = network.pop("type")
    return {"class": cls if isinstance(cls, str) else cls.__name__, "network": network,
            "task": as_task(cfg.get("task")).to_dict()}


def plain(value):
    """The value without what only a pickle could hold; None where nothing is left."""
    if isinstance(value, Mapping):
        return {str(k): p for k, v in value.items() if (p := plain(v)) is not None}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | torch.Tensor) else None


@RUNNERS.register_module()
class DenseRunner(Runner):
    """Runner of this toolkit.

    - Checkpoints hold tensors and plain values only, load with ``weights_only``, strictly, and are moved into
      place when complete.
    - Under torchrun it joins gloo on CPU or NCCL on CUDA; batch statistics are those of the global batch.
    - The console shows warnings only; the log file shows everything.
    """

    def setup_env(self, env_cfg: dict) -> None:
        start_processes()
        self._distributed = launched_by_torchrun()
        threads = torch.get_num_threads()
        super().setup_env(env_cfg)
        torch.set_num_threads(threads)  # mmengine would set 1 under torchrun for good

    def build_logger(self, *args, **kwargs):
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
        logger.addFilter(lambda record: not any(text in record.getMessage() for text in NO_NEWS))
        return logger

    def wrap_model(self, model_wrapper_cfg, model):
        if is_model_wrapper(model):
            return model
        model = model.to(get_device())
        if not self.distributed:
            return model
        if self.cfg.get("sync_bn", True):
            model = convert_sync_batchnorm(model)
        device_ids = [int(os.environ["LOCAL_RANK"])] if torch.cuda.is_available() else None
        return MMDistributedDataParallel(
            module=model, device_ids=device_ids, broadcast_buffers=False,
            find_unused_parameters=self.cfg.get("find_unused_parameters", False))

    @staticmethod
    def build_dataloader(dataloader, seed=None, diff_rank_seed=False):
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        # else each pass draws a seed from the global generator, and a resumed run makes other passes
        loader.generator = torch.Generator().manual_seed(seed or 0)
        return loader

    @property
    def plain_model(self):
        """The model without the wrapper for several processes."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def prepare(self) -> None:
        """Build what mmengine builds on first use, so that faults of a config show before anything runs."""
        if self._train_loop is None:
            self._test_loop = self.test_loop
            return
        self._train_loop = self.build_train_loop(self._train_loop)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        if self.param_schedulers is not None and not self.auto_scale_lr:  # which comes before the schedulers
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        self._val_loop = self.val_loop

    def load_or_resume(self) -> None:
        if self._has_loaded:
            return
        if self._resume:
            found = [Path(self._load_from)] if self._load_from else saved_checkpoints(Path(self.work_dir))[-1:]
            if found:
                self.resume(found[0])
        elif self._load_from:
            self.load_checkpoint(self._load_from)
        self._has_loaded = True

    def load_checkpoint(self, filename, map_location="cpu", strict=True, revise_keys=()):
        """Load weights (any layout that ``build_model`` reads) into the model; nothing else of the file.

        The config's ``load_heads``, 'fit' by default, says what becomes of heads; see ``load_network_weights``.
        """
        network = getattr(self.plain_model, "network", self.plain_model)
        notes = load_network_weights(network, read_weights_lazily(filename), self.cfg.get("load_heads", "fit"))
        for hook in self.hooks:
            if hasattr(hook, "ema_model"):
                hook.ema_model.module.load_state_dict(self.plain_model.state_dict())
        self._has_loaded = True
        self.logger.info("\n".join([f"loaded {filename}", *notes]))

    def resume(self, filename, resume_optimizer=True, resume_param_scheduler=True, map_location="default"):
        """Go on from a checkpoint of this toolkit: weights, averages, optimiser, schedules, counters."""
        checkpoint = read_checkpoint(filename)
        if not isinstance(checkpoint, Mapping) or "optimizer" not in checkpoint:
            raise WeightsError(f"{filename}: not a checkpoint of this toolkit, so it cannot be resumed. "
                               "Remedy: to begin from its weights, use --weights")
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_network_weights(self.plain_model, checkpoint["state_dict"])
        self.train_loop._iter = checkpoint["meta"]["iter"]
        for key, value in checkpoint["message_hub"].items():
            self.message_hub.update_info(key, value)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        for scheduler, state in zip(self.param_schedulers or (), checkpoint["param_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        torch.set_rng_state(checkpoint["rng"])
        self.logger.info(f"resumed {filename} at iteration {self.iter}")

    def save_checkpoint(self, out_dir, filename, meta=None, **_) -> None:
        """Write a checkpoint; ``meta['iter']`` is the number of finished iterations."""
        self._save_checkpoint(out_dir, filename, dict(meta or {}))
        barrier()

    @master_only
    def _save_checkpoint(self, out_dir, filename, meta: dict) -> None:
        checkpoint = {
            "meta": meta | {"seed": self.seed, "weights": weights_meta(self.cfg)},
            "state_dict": {k: v.cpu() for k, v in self.plain_model.state_dict().items()},
            "message_hub": plain({k: v for k, v in self.message_hub.runtime_info.items()
                                  if k not in ("cfg", "experiment_name", "iter", "epoch", "max_iters", "max_epochs")}),
            "optimizer": self.optim_wrapper.state_dict(),
            "param_schedulers": [plain(s.state_dict()) for s in self.param_schedulers or ()],
            "rng": torch.get_rng_state(),
        }
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        try:
            write_checkpoint(Path(out_dir) / filename, checkpoint)
        except DenseError as error:
            raise DenseError(f"{error}. {intact(Path(out_dir))}") from error


def build_runner(cfg: Config, origin: str | Path) -> DenseRunner:
    """The runner of a finished config; ConfigError with ``origin`` if a class refuses its settings."""
    with config_errors(origin):
        runner = DenseRunner.from_cfg(cfg)
        runner.prepare()
    return runner
