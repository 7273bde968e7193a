"""BatchNorm folded into convolutions: the same function, and only where it is the same."""
import pytest
import torch
from reference import refill
from torch import nn

from dense.models.fold import NORMS, fold_batchnorm
from dense.models.isnet import ISNet


def norms(network):
    return [m for m in network.modules() if isinstance(m, NORMS)]


def test_isnet_folded_is_the_same_function_at_every_size():
    network = refill(ISNet(width=0.125), seed=2).eval()
    folded = fold_batchnorm(network, torch.zeros(1, 3, 64, 64))
    assert norms(network) and not norms(folded)
    for size in ((64, 64), (97, 131)):
        inputs = torch.randn(2, 3, *size)
        with torch.no_grad():
            for found, expected in zip(folded(inputs)[0], network(inputs)[0], strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_network_itself_is_left_alone():
    network = refill(ISNet(width=0.125), seed=2).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    fold_batchnorm(network, torch.zeros(1, 3, 64, 64))
    assert network.training and len(before) == len(network.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


class Shared(nn.Module):
    """One convolution, two BatchNorms."""

    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.b(self.conv(self.a(self.conv(x))))


class Branch(Shared):
    """The convolution's output is used beside its BatchNorm."""

    def forward(self, x):
        y = self.conv(x)
        return self.a(y) + y


def test_a_convolution_used_twice_is_left_as_it_is():
    network = refill(Shared()).eval()
    inputs = torch.randn(1, 3, 9, 9)
    folded = fold_batchnorm(network, inputs)
    assert len(norms(folded)) == 2
    with torch.no_grad():
        assert torch.equal(folded(inputs), network(inputs))


def test_a_fold_that_would_change_the_output_is_refused():
    with pytest.raises(ValueError, match="changes the output of Branch"):
        fold_batchnorm(refill(Branch()).eval(), torch.randn(1, 3, 9, 9))


@pytest.mark.parametrize(("conv", "norm", "shape"), [
    (nn.Conv1d, nn.BatchNorm1d, (2, 3, 9)), (nn.Conv3d, nn.BatchNorm3d, (2, 3, 5, 6, 7))])
def test_other_dimensions_fold_too(conv, norm, shape):
    network = refill(nn.Sequential(conv(3, 4, 3), norm(4), nn.ReLU())).eval()
    folded = fold_batchnorm(network, torch.randn(shape))
    inputs = torch.randn(shape)
    assert not norms(folded)
    with torch.no_grad():
        torch.testing.assert_close(folded(inputs), network(inputs), rtol=1e-4, atol=1e-5)
