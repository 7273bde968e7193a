"""Mixed precision through one setting, on CPU too."""
from __future__ import annotations

import pytest
import torch
from toy import PLAIN

from dense.compat.optim import LateOptimWrapper
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.train import train
from dense.errors import ConfigError

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="what holds without a CUDA device")


@no_cuda
@pytest.mark.parametrize("amp", [True, "bf16", None])
def test_convolutions_run_in_bfloat16_and_losses_in_float32(toy, amp):
    settings = Settings(work_dir=str(toy.folder / "run"), amp=amp, options=[PLAIN])
    runner = build_runner(runner_config(load_config(toy.config, settings)), "toy")
    inner, losses = [], []
    runner.model.network.stage3.register_forward_hook(lambda m, i, o: inner.append(o.dtype))
    conv = next(m for m in runner.model.network.stage3.modules() if isinstance(m, torch.nn.Conv2d))
    conv.register_forward_hook(lambda m, i, o: inner.append(o.dtype))
    compute = runner.model.loss

    def loss(*args, **kwargs):
        losses.append(compute(*args, **kwargs))
        return losses[-1]

    runner.model.loss = loss
    runner.model.train()
    runner.model.train_step(next(iter(runner.train_dataloader)), runner.optim_wrapper)
    assert inner[0] == (torch.bfloat16 if amp else torch.float32)
    assert {v.dtype for v in losses[0].values()} == {torch.float32}
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    assert all(torch.isfinite(v) for v in losses[0].values())


def test_both_stages_train_in_mixed_precision(toy):
    best = train(toy.config, Settings(work_dir=str(toy.folder / "run"), amp="bf16", max_iters=2))
    assert best.is_file()


@no_cuda
def test_fp16_without_a_gpu_is_refused_before_anything_is_made(toy):
    with pytest.raises(ConfigError, match=r"(?s)fp16.*CUDA.*bf16"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), amp="fp16"))
    assert not (toy.folder / "run").exists()


def test_an_unknown_precision_is_refused(toy):
    with pytest.raises(ConfigError, match="'fp8' is unknown"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), amp="fp8"))


@pytest.mark.parametrize("with_context", [True, False])
def test_gradients_are_dropped_when_the_next_step_begins(with_context):
    weight = torch.nn.Parameter(torch.ones(3))
    wrapper = LateOptimWrapper(torch.optim.SGD([weight], lr=0.1))
    for number in (1, 2, 3):
        if with_context:
            with wrapper.optim_context(None):
                assert weight.grad is None
                loss = weight.sum()
            wrapper.update_params(loss)
        else:
            wrapper.update_params(weight.sum())
        assert torch.equal(weight.grad, torch.ones(3))  # of this step alone, and still there
        torch.testing.assert_close(weight.data, torch.full((3,), 1 - 0.1 * number))


def test_an_accumulation_adds_the_gradients_of_its_batches_alone():
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = LateOptimWrapper(torch.optim.SGD([weight], lr=1.0), accumulative_counts=2)
    steps = []
    for factor in (1.0, 3.0, 5.0, 7.0):
        with wrapper.optim_context(weight):
            wrapper.update_params(factor * weight.sum())
        steps.append(weight.item())
    assert steps == [0, -2, -2, -8]
