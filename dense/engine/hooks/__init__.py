"""Hooks of the training and test loops."""
from dense.engine.hooks.checkpoint import SaveCheckpoint
from dense.engine.hooks.curves import Curves
from dense.engine.hooks.detection_pictures import DetectionPictures
from dense.engine.hooks.erase_pictures import ErasePictures
from dense.engine.hooks.pictures import ResultPictures
from dense.engine.hooks.progress import Progress
from dense.engine.hooks.semantic_pictures import SemanticPictures
from dense.engine.hooks.size import GrowingSize
from dense.engine.hooks.stopping import EarlyStopping, TimeBudget
from dense.engine.hooks.volume_pictures import VolumePictures

__all__ = ["Curves", "DetectionPictures", "EarlyStopping", "ErasePictures", "GrowingSize", "Progress",
           "ResultPictures", "SaveCheckpoint", "SemanticPictures", "TimeBudget", "VolumePictures"]
