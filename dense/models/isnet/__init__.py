"""IS-Net: networks, losses, the trainable model and its names."""
from dense.models.isnet.model import CutoutModel, CutoutPreprocessor
from dense.models.isnet.network import GTEncoder, ISNet
from dense.models.isnet.published import recognise_encoder, recognise_isnet
from dense.models.names import ModelName, register_name

register_name(ModelName(
    "isnet", "IS-Net, dichotomous segmentation (cut-out), 44.0 M parameters at width 1",
    lambda network: dict(type=CutoutModel, network=dict(type=ISNet, **network)), recognise_isnet))
register_name(ModelName(
    "isnet_gt_encoder", "Ground-truth encoder of IS-Net (training only), 6.9 M parameters at width 1",
    lambda network: dict(type=CutoutModel, network=dict(type=GTEncoder, **network)),
    recognise_encoder))

__all__ = ["CutoutModel", "CutoutPreprocessor", "GTEncoder", "ISNet"]
