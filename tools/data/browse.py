"""Contact sheets of what a network is really fed: python tools/data/browse.py configs/isnet_cutouts.py

Rows of one sample over several epochs, each as image | mask outline, after the config's whole pipeline.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # works without installing the package


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0].partition(":")[0])
    parser.add_argument("config", help="config file, or the name of a shipped one")
    parser.add_argument("--data-root", help="folder of the data set (the config's)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="(%(default)s)")
    parser.add_argument("--count", type=int, default=24, help="samples, spread over the data set (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of each sample, to show augmentation (%(default)s)")
    parser.add_argument("--size", type=int, help="side of the square that the network is fed (the config's)")
    parser.add_argument("--panel", type=int, default=240, help="side of a panel in pixels (%(default)s)")
    parser.add_argument("-o", "--out", default="work_dirs/browse", help="folder of the sheets (%(default)s)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change any setting")
    arguments = parser.parse_args(argv)
    if min(arguments.count, arguments.epochs) < 1 or arguments.panel < 32:
        parser.error("--count and --epochs must be at least 1, --panel at least 32")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Write the sheets; returns the exit code."""
    arguments = _arguments(argv)
    from mmengine.registry import init_default_scope

    from dense.datasets.browse import sheets
    from dense.engine.explain import config_errors
    from dense.engine.settings import Settings, load_config, runner_config
    from dense.errors import ConfigError, DenseError
    from dense.io import write_image
    from dense.registry import DATASETS

    init_default_scope("dense")
    try:
        settings = Settings(data_root=arguments.data_root, size=arguments.size, options=arguments.cfg_options)
        config = runner_config(load_config(arguments.config, settings))
        loader = config.get(f"{arguments.split}_dataloader")
        if not loader:
            raise ConfigError(f"{arguments.config}: has no {arguments.split}_dataloader; choose another --split")
        with config_errors(arguments.config):
            dataset = DATASETS.build(loader.dataset)
        stem = f"{Path(arguments.config).stem}_{arguments.split}"
        for number, sheet in enumerate(sheets(dataset, arguments.count, arguments.epochs, arguments.panel), 1):
            path = Path(arguments.out) / f"{stem}_{number:02}.png"
            write_image(path, sheet)
            print(path)
    except DenseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
