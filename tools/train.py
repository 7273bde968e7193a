"""Train a config: python tools/train.py configs/isnet_dis5k.py [options]; the same as ``dense train``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the package

from dense.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
