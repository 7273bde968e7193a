"""Pictures with text whose clean version is known: fonts, words, layers, scenes."""
from dense.datasets.text.fonts import find_fonts
from dense.datasets.text.scene import Scene, SceneSettings, make_scene

__all__ = ["Scene", "SceneSettings", "find_fonts", "make_scene"]
