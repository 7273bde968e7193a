"""List the models that can be built, and the weights that come with the package."""
from argparse import ArgumentParser, Namespace

HELP = "list models and shipped weights"


def add_arguments(parser: ArgumentParser) -> None:
    pass


def run(args: Namespace) -> int:
    from dense.models.names import list_models
    from dense.weights.shipped import list_shipped

    for name, summary in list_models().items():
        print(f"{name:30} {summary}")
    for name, path in list_shipped().items():
        print(f"{name:30} shipped weights, {path.stat().st_size / 2**20:.1f} MiB")
    return 0
