"""Inference: from files, arrays and videos through a network to typed results and files.

Nothing here imports torch or mmengine before a model is named; a bundle runs without both.
"""
from dense.inference.detection import DetectionResult
from dense.inference.inferencer import Inferencer
from dense.inference.results import CutoutResult, EraseResult, Result
from dense.inference.segmentation import SegmentResult
from dense.inference.sources import watch
from dense.inference.video_out import VideoWriter
from dense.inference.volumes import VolumeResult

__all__ = ["CutoutResult", "DetectionResult", "EraseResult", "Inferencer", "Result", "SegmentResult", "VideoWriter",
           "VolumeResult", "watch"]
