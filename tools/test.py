"""Test weights: python tools/test.py CONFIG CHECKPOINT [options]; the same as ``dense test``."""
import sys

from dense.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
