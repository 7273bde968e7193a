"""The cross-stage label assigner against stored cases, a slow transcription, and its own rules; the losses."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from reference import DATA

from dense.models.stageinteractor.boxes import iou, paired_giou
from dense.models.stageinteractor.decoder import StageOutput
from dense.models.stageinteractor.labels import StageTargets, cross_stage_targets
from dense.models.stageinteractor.losses import box_l1, focal_loss, giou_loss

pytest.importorskip("mmdet", reason="the assigner needs the extra 'det'")

CASES = 24


@pytest.fixture(scope="module")
def stored():
    with np.load(DATA / "stageinteractor_labels.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def matches_of(matched):
    """[stage, truth] -> query as pairs of indices."""
    return [(row, torch.arange(len(row))) for row in matched]


@pytest.mark.parametrize("case", range(CASES))
def test_stored_cases(stored, case):
    boxes, truth, labels = (stored[f"{k}_{case}"] for k in ("pred_boxes", "gt_boxes", "gt_labels"))
    targets = cross_stage_targets(boxes, matches_of(stored[f"matched_query_{case}"]), truth, labels, 80)
    assert len(targets) == 6
    for stage, target in enumerate(targets):
        expected = {tuple(pair) for pair in stored[f"class_targets_{case}_{stage}"].tolist()}
        assert {tuple(pair) for pair in target.classes.nonzero().tolist()} == expected
        assert [target.named, target.positives] == stored[f"avg_{case}_{stage}"].tolist()


@st.composite
def scenes(draw):
    """Boxes near a few objects, labels of which some are equal, and any one-to-one matching in each stage."""
    stages, queries, classes = draw(st.integers(1, 5)), draw(st.integers(3, 8)), draw(st.integers(1, 4))
    count = draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(5, 40, (count, 2))
    truth = np.hstack([corner, corner + size])
    near = truth[rng.integers(0, count, (stages, queries))] if count else rng.uniform(0, 50, (stages, queries, 4))
    boxes = near + rng.normal(0, 4, near.shape)
    boxes = np.concatenate([boxes[..., :2], np.maximum(boxes[..., :2] + 1, boxes[..., 2:])], -1)
    matched = np.stack([rng.permutation(queries)[:count] for _ in range(stages)])
    return (torch.tensor(boxes, dtype=torch.float32), torch.tensor(matched), torch.tensor(truth, dtype=torch.float32),
            torch.tensor(rng.integers(0, classes, count)), classes)


def transcribe(boxes, matched, truth, labels, classes):
    """The fact sheet, word for word."""
    stages, queries = boxes.shape[:2]
    out = []
    for s in range(stages):
        score = np.zeros((queries, classes))
        for t in {s, *([s - 1] if s else []), *range(s + 1, stages)}:
            for g, q in enumerate(matched[t].tolist()):
                overlap = float(iou(boxes[s, q:q + 1], truth[g:g + 1]))
                score[q, labels[g]] = max(score[q, labels[g]], overlap)
        out.append(score >= 0.5)
    return out


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_targets_follow_the_sheet_and_their_rules(scene):
    boxes, matched, truth, labels, classes = scene
    targets = cross_stage_targets(boxes, matches_of(matched), truth, labels, classes)
    for s, (target, expected) in enumerate(zip(targets, transcribe(*scene), strict=True)):
        assert np.array_equal(target.classes.numpy(), expected)
        assert target.positives == len(truth) and target.named == max(expected.sum(), len(truth))
        # boxes stay one to one, at this stage
        assert torch.equal(target.queries, matched[s]) and torch.equal(target.truths, torch.arange(len(truth)))
        overlaps = iou(boxes[s], truth) if len(truth) else torch.zeros(len(boxes[s]), 0)
        for query, label in target.classes.nonzero().tolist():
            assert (overlaps[query][labels == label] >= 0.5).any()  # nothing is named that the box misses
            assert any(query in matched[t] for t in range(max(0, s - 1), len(boxes)))


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(0, 2**32 - 1))
def test_the_order_of_queries_and_objects_does_not_matter(scene, seed):
    boxes, matched, truth, labels, classes = scene
    rng = np.random.default_rng(seed)
    order, place = rng.permutation(boxes.shape[1]), rng.permutation(len(truth))
    where = np.argsort(order)  # old query -> new query
    moved = torch.tensor(where)[matched][:, place] if len(truth) else matched
    usual = cross_stage_targets(boxes, matches_of(matched), truth, labels, classes)
    other = cross_stage_targets(boxes[:, order], matches_of(moved), truth[place], labels[place], classes)
    for one, two in zip(usual, other, strict=True):
        assert torch.equal(one.classes[order], two.classes)


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_without_other_stages_queries_name_what_they_were_matched_with(scene):
    boxes, matched, truth, labels, classes = scene
    for s, target in enumerate(cross_stage_targets(boxes, matches_of(matched), truth, labels, classes,
                                                   cross_stage=False)):
        assert target.classes.sum() == len(truth) and target.classes[matched[s], labels].all()


def test_the_assigner_matches_by_class_and_box():
    from dense.models.stageinteractor import CrossStageAssigner

    truth = InstanceData(bboxes=torch.tensor([[10.0, 10, 50, 50], [60, 10, 90, 40]]), labels=torch.tensor([2, 0]))
    near = torch.tensor([[0.0, 0, 100, 100], [60, 11, 91, 40], [11, 9, 50, 52], [12, 8, 49, 50]])
    logits = torch.full((4, 3), -4.0)
    logits[1, 0] = logits[3, 2] = 2.0  # of two boxes that fit, the one that says so
    targets = CrossStageAssigner().assign([StageOutput(logits, near), StageOutput(logits.roll(1, 0), near.roll(1, 0))],
                                          truth, (100, 100))
    assert dict(zip(targets[0].queries.tolist(), targets[0].truths.tolist(), strict=True)) == {3: 0, 1: 1}
    assert dict(zip(targets[1].queries.tolist(), targets[1].truths.tolist(), strict=True)) == {0: 0, 2: 1}
    # query 2 has the object only in the next stage, where its own box is another; here its box is on object 0
    assert targets[0].classes.nonzero().tolist() == [[1, 0], [3, 2]]


def test_losses_equal_mmdets():
    from dense.compat import ensure_mmcv_ext

    ensure_mmcv_ext()
    from mmdet.models.losses import GIoULoss
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(5, 7), torch.rand(5, 7) > 0.7
    expected = py_sigmoid_focal_loss(logits, targets.float(), reduction="sum")
    assert float(focal_loss(logits, targets)) == pytest.approx(float(expected), rel=1e-5)
    one, other = (torch.cat((c, c + s), -1) for c, s in
                  ((50 * torch.rand(9, 2), 40 * torch.rand(9, 2) + 1) for _ in range(2)))
    assert float(giou_loss(one, other)) == pytest.approx(float(GIoULoss(reduction="sum")(one, other)), rel=1e-5)
    assert torch.allclose(iou(one, one).diagonal(), torch.ones(9))
    assert (paired_giou(one, other) <= iou(one, other).diagonal() + 1e-6).all()
    scale = torch.tensor([100.0, 50, 100, 50]).expand(9, 4)
    assert float(box_l1(one, one + 1, scale)) == pytest.approx(9 * (0.01 + 0.02) * 2, rel=1e-4)


def test_normalisers_are_at_least_one_and_count_the_batch():
    from dense.models.stageinteractor.model import normalisers

    def target(pairs, positives):
        classes = torch.zeros(4, 3, dtype=torch.bool)
        classes.view(-1)[:pairs] = True
        return StageTargets(classes, torch.arange(positives), torch.arange(positives))

    cpu = torch.device("cpu")
    assert [float(v) for v in normalisers([target(0, 0)], cpu)] == [1, 1]
    assert [float(v) for v in normalisers([target(5, 2), target(1, 3)], cpu)] == [6, 5]
    assert [float(v) for v in normalisers([target(1, 2), target(0, 1)], cpu)] == [3, 3]
