"""StageInteractor's decoder on the CPU: against a plain transcription of its fact sheet, and mmdet's heads.

    python benchmarks/stageinteractor.py --json work_dirs/bench_stageinteractor.json
    python benchmarks/stageinteractor.py --size 800 1344 --pairs 5
    python benchmarks/stageinteractor.py --part training

"heads": one forward pass of what follows the neck, 100 queries, six stages or layers, 80 classes, random features of
one picture, one thread, processor time. All sides run in turn in one process, in changing order; ratios are of pairs.
The transcription ("plain") has our weights, and must give our outputs. Sparse R-CNN is mmdet's SparseRoIHead, its
RoIAlign the one that is installed: mmcv's compiled one, or dense's stand-in (the report says which). DINO's decoder
needs its encoder's output; "DINO" is both, on its own levels (strides 8 to 64), "DINO decoder" the decoder alone.
Memory: each side alone in a fresh process, the peak of resident memory above what imports and weights take; of DINO
as a whole only, whose encoder comes first.

"training": a forward and backward pass of the decoder, with and without recomputing stages: time in pairs, memory
each in a fresh process: resident between the passes, and its peak, of which 430 MiB are the weights' gradients.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _common import paired, peak_memory, report, table
from torch import Tensor, nn
from torch.nn import functional as F

from dense.models.stageinteractor.backbones import need_mmdet
from dense.models.stageinteractor.boxes import to_xyzr
from dense.models.stageinteractor.decoder import Decoder, make_stages

MIB = 2**20
HEADS = ("ours", "plain", "Sparse R-CNN", "DINO decoder", "DINO")
QUERIES, CHANNELS = 100, 256


# -- the fact sheet, sentence by sentence

def plain_stage(p: dict[str, Tensor], s: int, levels: list[Tensor], q: Tensor, box: Tensor,
                kept: list[Tensor], rows_before: Tensor | None) -> tuple:
    """One stage; p: its weights. Returns logits, moved boxes xyzr, query, its matrices and rows."""
    groups, sub, points = 4, 8, 8 if s == 0 else 4
    b, n, _ = q.shape

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), p[f"{name}.weight"], p[f"{name}.bias"])

    x, y, z, r = (box[..., i] for i in range(4))
    w, h = 2 ** (z - r / 2), 2 ** (z + r / 2)
    low, high = torch.stack((x - w / 2, y - h / 2), -1), torch.stack((x + w / 2, y + h / 2), -1)
    i = torch.arange(64, dtype=torch.float32)
    angles = (box / torch.tensor([1000.0, 1000, 1, 1]))[..., None] * 10000 ** (-2 * (i // 2) / 64)
    q = q + torch.where(i % 2 == 0, angles.sin(), angles.cos()).flatten(2)
    side = (torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None])).clamp(min=0)
    iof = side.prod(-1) / (w * h)[:, :, None]
    bias = p["iof_tau"][None, :, None, None] * torch.log(iof + 1e-7)[:, None]
    mixed, _ = F.multi_head_attention_forward(
        q.transpose(0, 1), q.transpose(0, 1), q.transpose(0, 1), CHANNELS, 8, p["attention.attn.in_proj_weight"],
        p["attention.attn.in_proj_bias"], None, None, False, 0.0, p["attention.attn.out_proj.weight"],
        p["attention.attn.out_proj.bias"], False, attn_mask=bias.flatten(0, 1), need_weights=False)
    q = norm(q + mixed.transpose(0, 1), "attention_norm")

    one = linear(q, "feat_extractor.gen_one_d.0").view(b, n, groups, points, 1, 3)
    two = linear(q, "feat_extractor.gen_double_d.0").view(b, n, 1, 1, sub, 3)
    wide, tall, left, top, deep = (t.view(b, n, 1, 1, 1) for t in (w, h, x, y, z))
    px = (left + wide * (one[..., 0] + 2 ** one[..., 2] * two[..., 0])).flatten(3)
    py = (top + tall * (one[..., 1] + 2 ** one[..., 2] * two[..., 1])).flatten(3)
    pz = (deep + one[..., 2] + two[..., 2]).flatten(3)
    weights = torch.stack([-(pz - 3 - level) ** 2 / 2 for level in range(4)]).softmax(0)
    feats = 0
    for level, (f, stride) in enumerate(zip(levels, (4, 8, 16, 32), strict=True)):
        grid = torch.stack((2 * px / (f.shape[3] * stride) - 1, 2 * py / (f.shape[2] * stride) - 1), -1)
        read = torch.stack([F.grid_sample(f[:, 64 * g:64 * g + 64], grid[:, :, g], align_corners=False)
                            for g in range(groups)], 1)  # (B, G, 64, N, points)
        feats = feats + read.permute(0, 3, 1, 4, 2) * weights[level][..., None]

    count = points * sub
    made = linear(q, "dynamic_conv.parameter_generator").view(b, n, groups, -1)
    matrix = made[..., :4096].reshape(b, n, groups, 64, 64)
    new_rows = made[..., 4096:].reshape(b, n, groups, -1, count)
    offset = linear(q, "dynamic_conv.mix_bias").view(b, n, groups, 192)
    x = torch.relu(F.layer_norm(feats @ matrix + offset[..., None, :64], (count, 64)))
    rows = new_rows
    if s >= 2:
        gates = linear(q, "dynamic_conv.M_score_list").view(b, n, groups, 64, 2, s - 1).sigmoid()
        offsets = linear(q, "dynamic_conv.M_score_list_mix_bias").view(b, n, groups, s - 1, 64)
        before = feats
        for i in range(s - 1):
            boxes = x.view(b, n, groups, points, sub, 64)
            local = linear(boxes.flatten(4), f"dynamic_conv.subbox_local_list.{i}").view(b, n, groups, count, 64)
            axis = linear(boxes.transpose(3, 4).flatten(4), f"dynamic_conv.axis_atten_list.{i}")
            axis = axis.view(b, n, groups, sub, points, 64).transpose(3, 4).reshape(b, n, groups, count, 64)
            before = local + axis + before
            g = gates[..., 1, i][..., :, None] * gates[..., 0, i][..., None, :]
            x = torch.relu(F.layer_norm(before @ (g * kept[i] + (1 - g) * matrix) + offsets[..., i, :][..., None, :],
                                        (count, 64)))
        h1 = linear(q, "dynamic_conv.S_score_list").view(b, n, groups, 64).sigmoid()
        h2 = linear(q, "dynamic_conv.S_score_list2").view(b, n, groups, count).sigmoid()
        g = h1[..., :, None] * h2[..., None, :]
        rows = torch.cat((new_rows, g * rows_before + (1 - g) * new_rows), 3)
    x = torch.relu(F.layer_norm(rows @ x + offset[..., 64:, None], (128, 64)))
    q = norm(q + linear(x.flatten(2), "dynamic_conv.Wv"), "dynamic_conv.Wv_layer_norm")
    q = norm(q + linear(torch.relu(linear(q, "ffn.layers.0.0")), "ffn.layers.1"), "ffn_norm")
    logits = linear(torch.relu(norm(linear(q, "cls_fcs.0"), "cls_fcs.1")), "fc_cls")
    delta = linear(torch.relu(norm(linear(q, "reg_fcs.0"), "reg_fcs.1")), "fc_reg")
    moved = torch.stack((box[..., 0] + delta[..., 0] * w, box[..., 1] + delta[..., 1] * h, box[..., 2] + delta[..., 2],
                         box[..., 3] + delta[..., 3]), -1)
    return logits, moved, q, matrix, new_rows[..., :64, :]


def plain_decoder(weights: list[dict[str, Tensor]], levels: list[Tensor], q: Tensor, box: Tensor) -> Tensor:
    """Logits of the last stage."""
    kept, rows = [], None
    for s, p in enumerate(weights):
        logits, box, q, matrix, new_rows = plain_stage(p, s, levels, q, box, kept, rows)
        if s:
            kept, rows = [*kept, matrix], new_rows
    return logits


# -- what is compared

def features(size: tuple[int, int], strides: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(1, CHANNELS, -(-size[0] // s), -(-size[1] // s), generator=draw) for s in strides]


def make_decoder(args) -> tuple[Decoder, list[Tensor], Tensor, Tensor]:
    """Ours with weights of some size, and its inputs."""
    torch.manual_seed(0)
    decoder = Decoder(make_stages())
    for module in decoder.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.3 / module.in_features ** 0.5)
    height, width = args.size
    box = to_xyzr(torch.tensor([[[0.0, 0, width, height]]])).repeat(1, QUERIES, 1)
    return decoder, features(args.size, (4, 8, 16, 32)), torch.randn(1, QUERIES, CHANNELS), box


def make_side(side: str, args) -> Callable[[], object]:
    """A function that runs a side once."""
    if side in ("ours", "plain"):
        decoder, levels, query, box = make_decoder(args)
        decoder.eval()
        if side == "ours":
            return lambda: decoder(levels, query, box)[-1].logits
        weights = [{k: v.detach() for k, v in stage.named_parameters()} for stage in decoder.bbox_head]
        return lambda: plain_decoder(weights, levels, query, box)
    return make_sparse(args) if side == "Sparse R-CNN" else make_dino(side, args)


def make_sparse(args) -> Callable[[], object]:
    from mmdet.models.roi_heads import SparseRoIHead
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    ffn, conv = dict(type="ReLU", inplace=True), dict(
        type="mmdet.DynamicConv", in_channels=CHANNELS, feat_channels=64, out_channels=CHANNELS, input_feat_shape=7,
        act_cfg=dict(type="ReLU", inplace=True), norm_cfg=dict(type="LN"))
    head = dict(type="mmdet.DIIHead", num_classes=80, num_ffn_fcs=2, num_heads=8, num_cls_fcs=1, num_reg_fcs=3,
                feedforward_channels=2048, in_channels=CHANNELS, dropout=0.0, ffn_act_cfg=ffn, dynamic_conv_cfg=conv,
                loss_bbox=dict(type="mmdet.L1Loss"), loss_iou=dict(type="mmdet.GIoULoss"),
                loss_cls=dict(type="mmdet.FocalLoss", use_sigmoid=True),
                bbox_coder=dict(type="mmdet.DeltaXYWHBBoxCoder", clip_border=False,
                                target_stds=[0.5, 0.5, 1.0, 1.0]))
    extractor = dict(type="mmdet.SingleRoIExtractor", out_channels=CHANNELS, featmap_strides=[4, 8, 16, 32],
                     roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2))
    roi_head = SparseRoIHead(bbox_roi_extractor=extractor, bbox_head=[dict(head) for _ in range(6)],
                             test_cfg=ConfigDict(max_per_img=QUERIES)).eval()
    levels, (height, width) = features(args.size, (4, 8, 16, 32)), args.size
    contents, box = torch.randn(QUERIES, CHANNELS), torch.tensor([[0.0, 0, width, height]]).repeat(QUERIES, 1)

    def run():
        queries = InstanceData(bboxes=box, features=contents, imgs_whwh=box[:, [2, 3, 2, 3]])
        return roi_head.predict_bbox(levels, [dict(img_shape=args.size)], [queries], roi_head.test_cfg)

    return run


def make_dino(side: str, args) -> Callable[[], object]:
    from mmdet.models import DINO
    from mmdet.structures import DetDataSample

    attention, ffn = dict(embed_dims=CHANNELS, num_levels=4, dropout=0.0), dict(
        embed_dims=CHANNELS, feedforward_channels=2048, ffn_drop=0.0)
    model = DINO(
        num_queries=QUERIES, with_box_refine=True, as_two_stage=True,
        backbone=dict(type="mmdet.ResNet", depth=18, init_cfg=None),  # never run
        neck=dict(type="mmdet.ChannelMapper", in_channels=[128, 256, 512], out_channels=CHANNELS, num_outs=4),
        encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        decoder=dict(num_layers=6, return_intermediate=True, post_norm_cfg=None, layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=CHANNELS, num_heads=8, dropout=0.0), cross_attn_cfg=attention, ffn_cfg=ffn)),
        positional_encoding=dict(num_feats=128, normalize=True, offset=0.0, temperature=20),
        bbox_head=dict(type="mmdet.DINOHead", num_classes=80, sync_cls_avg_factor=True, loss_cls=dict(
            type="mmdet.FocalLoss", use_sigmoid=True), loss_bbox=dict(type="mmdet.L1Loss"),
            loss_iou=dict(type="mmdet.GIoULoss")),
        dn_cfg=dict(label_noise_scale=0.5, box_noise_scale=1.0,
                    group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100)),
        train_cfg=None, test_cfg=dict(max_per_img=QUERIES)).eval()
    levels = tuple(features(args.size, (8, 16, 32, 64)))
    samples = [DetDataSample(metainfo=dict(batch_input_shape=args.size, img_shape=args.size))]

    def decode(inputs: dict):
        out = model.forward_decoder(**inputs)
        return model.bbox_head(**{k: out[k] for k in ("hidden_states", "references")})

    def prepare() -> dict:
        encoder, decoder = model.pre_transformer(levels, samples)
        memory = model.forward_encoder(**encoder)
        more, _ = model.pre_decoder(**memory, batch_data_samples=samples)
        return decoder | more

    if side == "DINO":
        return lambda: decode(prepare())
    with torch.inference_mode():
        ready = prepare()
    return lambda: decode(dict(ready))


def make_training(side: str, args) -> Callable[[], object]:
    """A forward and backward pass of our decoder; side: 'kept' or 'recomputed'."""
    decoder, levels, query, box = make_decoder(args)
    decoder.train()
    decoder.recompute = side == "recomputed"
    levels = [level.requires_grad_() for level in levels]

    def run(backward: bool = True) -> Tensor:
        loss = sum(o.logits.sum() + o.boxes.sum() for o in decoder(levels, query, box))
        if backward:
            loss.backward()
            decoder.zero_grad(set_to_none=True)
        return loss

    return run


# -- measuring

def measure_memory(part: str, side: str, args) -> dict:
    """Peak memory of one side in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--memory-of", side, "--size", *map(str, args.size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def interleave(runs: dict[str, Callable], pairs: int, gradients: bool = False) -> dict[str, list[float]]:
    """Processor seconds of every side, ``pairs`` times, in changing order."""
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for index in range(-1, pairs):
        for side in list(runs) if index % 2 else list(runs)[::-1]:
            begin = time.process_time()
            with torch.inference_mode(not gradients):
                runs[side]()
            if index >= 0:  # the first one warms up
                seconds[side].append(time.process_time() - begin)
        print(f"round {index + 1}/{pairs}", file=sys.stderr, flush=True)
    return seconds


def heads(args) -> tuple[str, dict]:
    memory = {side: measure_memory("heads", side, args) for side in HEADS if side != "DINO decoder"}
    runs = {side: make_side(side, args) for side in HEADS}
    with torch.inference_mode():
        one, other = runs["ours"](), runs["plain"]()
    difference = float((one - other).abs().max() / other.abs().max())
    if difference > 1e-3:
        raise SystemExit(f"the outputs differ by {difference:g} of the largest value")
    seconds = interleave(runs, args.pairs)
    rows, figures = [], {}
    for side in HEADS:
        figures[side] = paired(seconds["ours"], seconds[side]) | memory.get(side, {})
        f = figures[side]
        rows.append((side, f"{f['other']:.2f}", f"{f['ratio']:.3f}", f"{f['low']:.3f} to {f['high']:.3f}",
                     f"{f['above'] / MIB:.0f}" if "above" in f else ""))
    text = table(("", "processor s (median)", "ours / this", "95 % interval", "peak MiB above weights"), rows)
    align = "dense's stand-in" if need_mmdet() else "mmcv's compiled operator"
    text += (f"\n\n{args.size[0]} x {args.size[1]}, {args.pairs} rounds. RoIAlign: {align}; deformable attention: "
             f"mmcv's PyTorch form. Ours and plain differ by {difference:.1e} of the largest logit.")
    return text, {"figures": figures, "difference": difference, "seconds": seconds}


def training(args) -> tuple[str, dict]:
    sides = ("kept", "recomputed")
    memory = {side: measure_memory("training", side, args) for side in sides}
    seconds = interleave({side: make_training(side, args) for side in sides}, args.pairs, gradients=True)
    result = paired(seconds["recomputed"], seconds["kept"])
    rows = [(side, f"{np.median(seconds[side]):.2f}", f"{memory[side]['above'] / MIB:.0f}",
             f"{memory[side]['kept'] / MIB:.0f}") for side in sides]
    text = table(("stages", "processor s (median)", "peak MiB above weights", "MiB between the passes"), rows)
    text += (f"\n\n{args.size[0]} x {args.size[1]}, one picture, {QUERIES} queries: recomputing takes "
             f"{result['ratio']:.2f} times as long (95 % interval {result['low']:.2f} to {result['high']:.2f}, "
             f"{result['pairs']} pairs)")
    return text, {"time": result, "memory": memory}


def resident() -> int:
    """Bytes of resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_of(part: str, side: str, args) -> dict:
    run = make_training(side, args) if part == "training" else make_side(side, args)
    before, now, figures = peak_memory(), resident(), {}
    if part == "training":
        loss = run(backward=False)
        figures["kept"] = resident() - now
        loss.backward()
    else:
        with torch.inference_mode():
            run()
    return figures | {"peak": peak_memory(), "above": peak_memory() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("heads", "training"), default="heads")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    args.size = tuple(args.size)
    torch.set_num_threads(1)
    need_mmdet()
    if args.memory_of:
        print(json.dumps(memory_of(args.part, args.memory_of, args)))
        return
    text, values = heads(args) if args.part == "heads" else training(args)
    report(f"StageInteractor's decoder, {args.part}", text, values, args.json)


if __name__ == "__main__":
    main()
