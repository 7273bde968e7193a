"""Dice and cross entropy against their formulas, written out voxel by voxel, and against MONAI."""
import pytest
import torch
from torch.nn import functional as F

from dense.models.stunet.losses import DiceCrossEntropy


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(2, 4, 5, 6, 7, generator=generator)
    labels = torch.randint(0, 3, (2, 1, 5, 6, 7), generator=generator)  # class 3 never occurs
    return logits, labels


def plain_dice(logits, labels, batch_dice=False, first=1, smooth=1e-5, keep=None):
    """In float64, class by class."""
    probabilities = logits.double().softmax(1)
    keep = torch.ones_like(labels, dtype=torch.bool) if keep is None else keep
    values = []
    groups = [range(len(logits))] if batch_dice else [[n] for n in range(len(logits))]
    for group in groups:
        for c in range(first, logits.shape[1]):
            p = torch.cat([probabilities[n, c][keep[n, 0]] for n in group])
            g = torch.cat([(labels[n, 0] == c)[keep[n, 0]].double() for n in group])
            values.append((2 * (p * g).sum() + smooth) / (p.sum() + g.sum() + smooth))
    return torch.stack(values).mean()


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_it_is_what_the_formula_says(batch, batch_dice, background):
    logits, labels = batch
    expected = F.cross_entropy(logits, labels[:, 0]) + 1 - plain_dice(logits, labels, batch_dice, int(not background))
    loss = DiceCrossEntropy(batch_dice=batch_dice, background=background)(logits, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_each_part_has_its_weight(batch):
    logits, labels = batch
    both = DiceCrossEntropy(0.3, 2.0)(logits, labels)
    expected = 2 * F.cross_entropy(logits, labels[:, 0]) + 0.3 * (1 - plain_dice(logits, labels))
    assert both.item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ValueError, match="not both 0"):
        DiceCrossEntropy(0, 0)


def test_monai_agrees_on_a_batch_in_which_all_classes_occur(batch):
    losses = pytest.importorskip("monai.losses", reason="MONAI is in the extra 'medical'")
    logits, labels = batch
    labels = torch.randint(0, 4, labels.shape, generator=torch.Generator().manual_seed(2))
    peer = losses.DiceCELoss(include_background=False, softmax=True, to_onehot_y=True, smooth_nr=1e-5, smooth_dr=1e-5)
    assert DiceCrossEntropy()(logits, labels).item() == pytest.approx(peer(logits, labels).item(), rel=1e-5)


def test_ignored_voxels_count_in_nothing(batch):
    logits, labels = batch
    holes = torch.rand(labels.shape, generator=torch.Generator().manual_seed(5)) < 0.4
    marked = labels.masked_fill(holes, 255)
    loss = DiceCrossEntropy(ignore=255)
    expected = (F.cross_entropy(logits, marked[:, 0], ignore_index=255) + 1
                - plain_dice(logits, labels, keep=~holes))
    assert loss(logits, marked).item() == pytest.approx(expected.item(), rel=1e-6)
    changed = torch.where(holes, torch.randn_like(logits), logits)
    assert torch.equal(loss(changed, marked), loss(logits, marked))


def test_a_patch_without_labels_moves_nothing(batch):
    logits = batch[0].clone().requires_grad_()
    loss = DiceCrossEntropy(ignore=9)(logits, torch.full_like(batch[1], 9))
    loss.backward()
    assert torch.isfinite(loss) and not logits.grad.any()


def test_gradients_are_those_of_the_formula(batch):
    logits, labels = batch[0].double().requires_grad_(), batch[1]
    other = batch[0].clone().requires_grad_()
    (F.cross_entropy(logits, labels[:, 0]) + 1 - plain_dice(logits, labels)).backward()
    DiceCrossEntropy()(other, labels).backward()
    assert torch.allclose(other.grad.double(), logits.grad, rtol=1e-4, atol=1e-8)


def test_a_class_that_is_neither_there_nor_given_is_right():
    labels = torch.zeros(1, 1, 4, 4, 4, dtype=torch.long)
    logits = torch.zeros(1, 2, 4, 4, 4)
    logits[:, 0] = 60
    assert DiceCrossEntropy(ce_weight=0)(logits, labels).item() == pytest.approx(0, abs=1e-5)
    labels[0, 0, 0, 0, 0] = 1
    assert DiceCrossEntropy(ce_weight=0)(logits, labels).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype):
    # 64^3 voxels of probability 1/2 are 131072, above the largest float16
    labels = torch.zeros(1, 1, 64, 64, 64, dtype=torch.long)
    labels[:, :, :32] = 1
    logits = torch.zeros(1, 2, 64, 64, 64, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = DiceCrossEntropy()(logits, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.5 + 0.693147, abs=1e-5) and torch.isfinite(logits.grad).all()


def test_long_sums_keep_their_digits():
    shape = (1, 2, 64, 256, 256)  # 4 million voxels: one float32 accumulator loses its digits
    logits = torch.zeros(shape)
    logits[:, 1] = 0.123
    labels = torch.ones(1, 1, *shape[2:], dtype=torch.long)
    p = torch.sigmoid(torch.tensor(0.123, dtype=torch.float64))
    expected = 1 - 2 * p / (p + 1)
    assert DiceCrossEntropy(ce_weight=0)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_shapes_that_do_not_go_together_are_refused(batch):
    with pytest.raises(ValueError, match="do not go with logits"):
        DiceCrossEntropy()(batch[0], batch[1][:, 0])
