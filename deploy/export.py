"""Export a bundle: python deploy/export.py MODEL [-w WEIGHTS] [-o DIR] [options]; the same as ``dense export``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the package

from dense.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
