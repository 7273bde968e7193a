"""Figures of networks: against counts by hand, and against the published table of FFNet."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dense.models.complexity import find_stages, measure
from dense.models.ffnet.family import parse_name
from dense.models.ffnet.network import FFNet

# GMAC at the size of the published figures
PUBLISHED = {
    "ffnet150_AAA": 1045, "ffnet86_AAA": 736, "ffnet56_AAA": 591, "ffnet34_AAA": 485, "ffnet122N_CBB": 368,
    "ffnet74N_CBB": 264, "ffnet46N_CBB": 207, "ffnet150_dAAA": 265, "ffnet86_dAAA": 188, "ffnet34_dAAA": 125,
    "ffnet18_dAAA": 106, "ffnet86S_dBBB_mobile": 104, "ffnet78S_dBBB_mobile": 96, "ffnet54S_dBBB_mobile": 76,
    "ffnet40S_dBBB_mobile": 62, "ffnet150S_BBB_mobile": 158, "ffnet78S_BBB_mobile": 94, "ffnet40S_BBB_mobile": 60,
    "ffnet78S_BCC_mobile": 80, "ffnet40S_BCC_mobile": 46, "ffnet122NS_CCC_mobile": 51, "ffnet46NS_CCC_mobile": 28}
PARAMETERS = {"ffnet150_AAA": 98.8, "ffnet46N_CBB": 20.2, "ffnet18_dAAA": 15.2, "ffnet40S_BCC_mobile": 13.2}


QUICK = ("ffnet34_AAA", "ffnet46N_CBB", "ffnet18_dAAA", "ffnet40S_dBBB_mobile", "ffnet40S_BCC_mobile",
         "ffnet46NS_CCC_mobile")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PUBLISHED])
def test_the_published_table_of_ffnet(name):
    """On a sixteenth of the area, of which all sizes are multiples of the strides: cost is proportional."""
    height, width = parse_name(name).input_size
    with torch.device("meta"):
        figures = measure(FFNet(name), (1, 3, height // 4, width // 4))
    assert 16 * figures.macs / 1e9 == pytest.approx(PUBLISHED[name], rel=0.01)
    assert figures.parameters / 1e6 == pytest.approx(PARAMETERS.get(name, figures.parameters / 1e6), abs=0.06)
    assert sum(stage.macs for stage in figures.stages) == figures.macs
    assert sum(stage.parameters for stage in figures.stages) == figures.parameters


class Small(nn.Module):
    """Two stages and something in between."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.box = nn.Module()
        self.box.second = nn.Conv2d(8, 4, 1)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.box.second(F.max_pool2d(self.first(x), 2))


def test_counts_by_hand():
    figures = measure(Small(), (2, 3, 10, 20))
    pixels = 2 * 10 * 20
    assert figures.macs == pixels * 3 * 8 * 9 + pixels // 4 * 8 * 4
    assert figures.parameters == 3 * 8 * 9 + 16 + 8 * 4 + 4 + 2
    parts = {s.name: s for s in figures.stages}
    assert parts["box.second"].macs == pixels // 4 * 8 * 4 and parts["box.second"].output == (2, 4, 5, 10)
    assert "unused" not in " ".join(parts)
    # kept: input, convolution's output, BatchNorm's mean and deviation, ReLU's output, pool's output and its indices
    kept = 4 * pixels * (3 + 8 + 8) + 4 * 2 * 8 + (4 + 8) * 8 * pixels // 4
    assert figures.training == kept
    # at once: input and, while BatchNorm is worked out, its input and output (and perhaps its mean and deviation)
    assert figures.inference in (4 * pixels * (3 + 8 + 8), 4 * pixels * (3 + 8 + 8) + 4 * 2 * 8)


def test_memory_that_was_given_back_does_not_count():
    chain = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(10)))
    figures = measure(chain, (1, 4, 16, 16))
    assert figures.inference == 3 * 4 * 4 * 16 * 16  # input, which the caller holds, and two of the chain
    assert figures.training == 10 * 4 * 4 * 16 * 16


def test_inplace_operations_take_no_memory():
    x = (1, 8, 16, 16)
    plain = measure(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()), x)
    inplace = measure(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True)), x)
    assert inplace.inference == 4 * 8 * 16 * 16 * 2 < plain.inference


def test_stages_of_few_parts_are_looked_into():
    network, x = Small(), torch.empty(1, 3, 8, 8)
    assert set(find_stages(network, x)) == {"first.0", "first.1", "box.second"}
    with torch.device("meta"):
        stages = find_stages(FFNet("ffnet40S_BCC_mobile"), torch.empty(1, 3, 64, 64))
    assert {"backbone_model.layer3", "head.layers.1.fam_4"} <= set(stages)
