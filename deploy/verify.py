"""Verify a bundle: python deploy/verify.py BUNDLE [options]; the same as ``dense verify``."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the package

from dense.cli import main

if __name__ == "__main__":
    sys.exit(main(["verify", *sys.argv[1:]]))
