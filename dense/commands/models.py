"""List the models that can be built, and the weights that are here by name (more: dense weights list)."""
from argparse import ArgumentParser, Namespace

HELP = "list models and the weights that are here"


def add_arguments(parser: ArgumentParser) -> None:
    pass


def run(args: Namespace) -> int:
    from dense.models.names import list_models
    from dense.weights.store import list_found

    for name, summary in list_models().items():
        print(f"{name:30} {summary}")
    for name, found in list_found().items():
        print(f"{name:30} {found.words}, {found.path.stat().st_size / 2**20:.1f} MiB")
    return 0
