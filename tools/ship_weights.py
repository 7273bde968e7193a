"""Put trained weights among those that come with the package, in half precision.

    python tools/ship_weights.py work_dirs/isnet_cutouts/best.safetensors isnet@cutouts

Write the model card beside them by hand (data, steps, metrics, licence, what they are not good for), and enter them in
dense/weights/catalogue.toml: size and sha256 are printed.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the package

from dense.errors import DenseError
from dense.weights.fetch import digests_of
from dense.weights.files import read_weights, write_weights
from dense.weights.shipped import FOLDER

LIMIT = 6 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="best.safetensors of a work directory")
    parser.add_argument("name", help="MODEL@WEIGHTS, for example isnet@cutouts")
    args = parser.parse_args()
    if args.name.count("@") != 1:
        parser.error("the name must be MODEL@WEIGHTS")
    target = FOLDER / f"{args.name.replace('@', '--')}.safetensors"
    try:
        weights = read_weights(args.weights)
        write_weights(target, weights.tensors, weights.meta, half=True)
    except DenseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = target.stat().st_size
    print(f"{size} bytes, sha256 {digests_of(target)['sha256']}")
    print(f"{target}: {size / 2**20:.2f} MiB{'' if size <= LIMIT else ', MORE than the 6 MiB allowed'}")
    return int(size > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
