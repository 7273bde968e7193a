"""What a person at the terminal is told outside the loops."""
from __future__ import annotations

import logging
import sys

from mmengine.dist import is_main_process


def silence_libraries() -> None:
    """Library chatter goes to the log file; what a person needs is printed by our hooks."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)


def say(text: str) -> None:
    """A line for the person at the terminal, once however many processes there are."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
