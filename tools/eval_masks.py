"""Measure masks: python tools/eval_masks.py PRED_DIR ... GT_DIR [options]; the same as ``dense eval``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the package

from dense.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
