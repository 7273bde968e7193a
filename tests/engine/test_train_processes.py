"""Two processes on CPU (gloo) train as one process does with the same global batch."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn
from toy import PLAIN, REPOSITORY, environment, make_data

from dense.compat.distributed import SyncBatchNorm2d, convert_sync_batchnorm
from dense.engine.hooks.curves import read_log
from dense.weights.files import read_checkpoint

TOOL = REPOSITORY / "tools" / "train.py"

# In float32 rounding alone changes the gradients of a fresh IS-Net by tenths, and losses soon after.
IN_FLOAT64 = """
import sys
import torch
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
from dense.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""


def torchrun(script: Path, processes: int, *arguments) -> subprocess.CompletedProcess:
    """A training script in so many processes."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    return subprocess.run(
        [sys.executable, *(launcher if processes > 1 else ()), str(script), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, timeout=180, check=False)


def normalise(rank: int, folder: str, offset: float, dtype: torch.dtype) -> None:
    """One of two processes: three training steps of batch statistics on its half of each batch."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    layer = SyncBatchNorm2d(3)
    outputs, gradients = [], []
    for x, weight in batches(offset, dtype):
        half = x[2 * rank:2 * rank + 2].clone().requires_grad_()
        out = layer(half)
        (out.float() * weight[2 * rank:2 * rank + 2]).sum().backward()
        outputs.append(out.detach())
        gradients.append(half.grad)
    torch.save({"out": outputs, "grad": gradients, "state": layer.state_dict(),
                "parameters": [p.grad for p in layer.parameters()]}, f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def batches(offset: float, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [((torch.randn(4, 3, 5, 6, generator=generator) * 2 + offset).to(dtype),
             torch.randn(4, 3, 5, 6, generator=generator)) for _ in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "dtype", "tolerance"), [
    (0.5, torch.float32, 1e-5), (300.0, torch.float32, 2e-3), (0.5, torch.bfloat16, 4e-2)])
def test_batch_statistics_of_two_halves_are_those_of_the_whole(tmp_path, offset, dtype, tolerance):
    multiprocessing.spawn(normalise, (str(tmp_path), offset, dtype), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pth") for rank in range(2)]
    layer = nn.BatchNorm2d(3)
    for step, (x, weight) in enumerate(batches(offset, dtype)):
        x = x.clone().requires_grad_()
        out = layer(x)
        (out.float() * weight).sum().backward()
        close = {"rtol": tolerance, "atol": tolerance}
        torch.testing.assert_close(torch.cat([h["out"][step] for h in halves]), out.detach(), **close)
        torch.testing.assert_close(torch.cat([h["grad"][step] for h in halves]), x.grad, **close)
    for key, value in layer.state_dict().items():
        torch.testing.assert_close(halves[0]["state"][key], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(halves[0]["state"][key], halves[1]["state"][key], rtol=0, atol=0)
    for index, parameter in enumerate(layer.parameters()):
        total = halves[0]["parameters"][index] + halves[1]["parameters"][index]
        torch.testing.assert_close(total, parameter.grad, rtol=max(tolerance, 1e-4), atol=max(tolerance, 1e-3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch's own is taken with CUDA")
def test_conversion_keeps_parameters_and_buffers():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    parameters = list(module.parameters())
    convert_sync_batchnorm(module)
    assert isinstance(module[1], SyncBatchNorm2d)
    assert all(one is other for one, other in zip(parameters, module.parameters(), strict=True))
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one_in_both_stages(toy):
    script = toy.folder / "train.py"
    script.write_text(IN_FLOAT64)
    folders = toy.folder / "one", toy.folder / "two"
    for processes, folder in enumerate(folders, start=1):
        done = torchrun(script, processes, toy.config, "--max-iters", 6, "--val-interval", 3, "--batch-size",
                        4 // processes, "--size", 96, "--learning-rate", "1e-4", "--work-dir", folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("| trained |") == done.stderr.count("training toy:") == 1
        assert "Traceback" not in done.stderr
    for stage in ("gt_encoder", "."):
        one, two = (read_log(folder / stage / "log.jsonl") for folder in folders)
        assert len(one) == len(two) == 8  # six iterations, two validations
        for a, b in zip(one, two, strict=True):
            assert b == pytest.approx(a, rel=1e-4)
        one, two = (read_checkpoint(folder / stage / "iter_6.pth")["state_dict"] for folder in folders)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-5)
    one, two = (sorted((folder / "test.csv").read_text().splitlines()) for folder in folders)
    assert one == two


@pytest.mark.slow
def test_a_problem_of_the_second_process_is_told(toy):
    root = make_data(toy.folder / "damaged")
    image = root / "DIS-TR" / "im" / "dis-tr_1.png"
    image.write_bytes(image.read_bytes()[:200])
    done = torchrun(TOOL, 2, toy.config, "--data-root", root, "--work-dir", toy.folder / "run", "--cfg-options", PLAIN,
                    "train_dataloader.sampler.shuffle=False", "--batch-size", 1, "--overfit", 2, "--size", 128)
    assert done.returncode != 0
    assert f"error (process 1): {Path(image)}" in done.stderr
    assert "Traceback" not in done.stderr.split("error (process 1)")[0]
