"""The backbones: mmdet's, by short names. Needs the extra 'det'."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dense.errors import ConfigError, MissingDependencyError, WeightsError

RESNETS = {"r18": 18, "r34": 34, "r50": 50, "r101": 101}
SWINS = {"swin_t": dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
         "swin_s": dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24))}
X101 = "x101"
NAMES = (*RESNETS, X101, *SWINS)
NO_MMDET = ("StageInteractor is composed by mmdetection, which cannot be imported ({}). Remedy: pip install "
            "'dense[det]'")
DROP_PATH = 0.2  # of Swin in training: mmdet's for detection; the paper's is not known


def scaled(channels: int, width: float, multiple: int = 8) -> int:
    """``channels * width`` rounded to a multiple, at least one of it; the published value for width 1."""
    return channels if width == 1 else max(multiple, multiple * round(channels * width / multiple))


def check_backbone(name: str, width: float, dcn: bool) -> None:
    """ConfigError for settings that contradict each other."""
    if name not in NAMES:
        raise ConfigError(f"backbone={name!r} is unknown; use {', '.join(NAMES)}")
    if width != 1 and name not in RESNETS:
        raise ConfigError(f"backbone {name} has one width. Remedy: width=1 (channels=... makes the decoder narrower), "
                          f"or one of {', '.join(RESNETS)}")
    if dcn and (name in SWINS or RESNETS.get(name, 50) < 50):
        raise ConfigError(f"dcn=True: {name} has no bottlenecks for deformable convolutions. Remedy: r50, r101 or x101")


def level_channels(name: str, width: float = 1.0) -> tuple[int, ...]:
    """Channels of the four levels, strides 4 to 32."""
    if name in SWINS:
        return tuple(SWINS[name]["embed_dims"] * 2 ** level for level in range(4))
    base = scaled(64, width) * (1 if RESNETS.get(name, 50) < 50 else 4)
    return tuple(base * 2 ** level for level in range(4))


def backbone_config(name: str, width: float = 1.0, frozen_stages: int = 1, norm_eval: bool = True,
                    dcn: bool = False) -> dict:
    """mmdet's config of a backbone.

    width: scales the channels of ResNets. frozen_stages: how many are not trained, the stem first; -1 trains all.
    norm_eval: BatchNorm keeps its statistics. dcn: deformable 3x3 convolutions from the second layer on.

    Raises MissingDependencyError without mmdet, or for ``dcn`` without mmcv's compiled operators.
    """
    check_backbone(name, width, dcn)
    need_mmdet()
    from mmdet.models.backbones import ResNet, ResNeXt, SwinTransformer

    if name in SWINS:
        return dict(type=SwinTransformer, **SWINS[name], window_size=7, patch_norm=True, out_indices=(0, 1, 2, 3),
                    drop_path_rate=DROP_PATH, frozen_stages=frozen_stages)
    config = dict(type=ResNet, depth=RESNETS.get(name, 101), base_channels=scaled(64, width), num_stages=4,
                  out_indices=(0, 1, 2, 3), frozen_stages=frozen_stages, norm_eval=norm_eval, style="pytorch",
                  norm_cfg=dict(type="BN", requires_grad=True))
    if name == X101:
        config.update(type=ResNeXt, groups=64, base_width=4)
    if dcn:
        _need_compiled_ops(name)
        config.update(dcn=dict(type="DCN", deform_groups=1, fallback_on_stride=False),
                      stage_with_dcn=(False, True, True, True))
    return config


def need_mmdet() -> bool:
    """Import mmdet's models; True where dense stands in for mmcv's compiled operators.

    Raises MissingDependencyError that says what to install.
    """
    from dense.compat import ensure_mmcv_ext

    stand_in = ensure_mmcv_ext()
    try:
        import mmdet.models  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(NO_MMDET.format(error)) from error
    return stand_in


def _need_compiled_ops(name: str) -> None:
    if need_mmdet():
        from dense.compat.mmcv_ext import INSTALL_OPS

        raise MissingDependencyError(
            f"{name} has deformable convolutions, which exist only among mmcv's compiled operators, and mmcv is "
            f"installed here without these. To compile them, with a C++ compiler and ninja installed:\n    "
            f"{INSTALL_OPS}\nOr build it without (dcn=False); weights with deformable convolutions do not fit then")


def make_backbone(**settings) -> nn.Module:
    """The backbone of ``backbone_config``, initialised."""
    config = backbone_config(**settings)
    backbone = config.pop("type")(**config)
    initialise(backbone)
    return backbone


def initialise(backbone: nn.Module) -> None:
    """Initial weights of mmdet's backbone; once, so that a later call for the whole model leaves it alone."""
    if any(p.is_meta for p in backbone.parameters()):
        return
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    backbone._dump_init_info = lambda: None  # which would list every tensor
    try:
        logger.setLevel("ERROR")  # Swin warns that its weights are initial ones
        backbone.init_weights()
    finally:
        logger.setLevel(level)
        del backbone._dump_init_info


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load ImageNet weights (torchvision's ResNets, mmdet's, or the authors' Swin) into a backbone.

    A classifier in the file is left out; deformable convolutions' offsets, and norms behind the levels, which
    classifiers lack, stay as initialised. Raises WeightsError with the keys that are missing or of another shape.
    """
    from dense.weights.files import read_weights

    state, own = dict(read_weights(path).tensors), backbone.state_dict()
    for prefix in ("module.", "backbone."):
        if any(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    state = {k: v for k, v in _swin(state).items() if k in own}
    missing = [k for k in own if k not in state and not _is_new(k)]
    shapes = [k for k in state if state[k].shape != own[k].shape]
    if missing or shapes:
        counts = [f"{len(keys)} {what} ({', '.join(keys[:4])})"
                  for keys, what in ((missing, "missing"), (shapes, "of another shape")) if keys]
        raise WeightsError(f"{path} does not fit the backbone: {'; '.join(counts)}. Remedy: ImageNet weights of the "
                           "same network and width")
    backbone.load_state_dict(own | state)


def _is_new(key: str) -> bool:
    """Whether a classifier of the same network lacks this key."""
    return "conv_offset" in key or key.startswith("norm") or key.endswith(("relative_position_index",
                                                                           "num_batches_tracked"))


def _swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' keys of Swin as mmdet's."""
    if "patch_embed.proj.weight" not in state:
        return dict(state)
    from mmdet.models.backbones.swin import swin_converter

    return {k.removeprefix("backbone."): v for k, v in swin_converter(state).items()}
