"""Shared by all tests: few threads, and reference values computed by the original networks."""
import functools
import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch is imported

import pytest
from reference import load_reference

# a background job of a shell ignores Ctrl-C, and so would the processes that the tests interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def reference():
    """``reference("isnet_dis")`` -> its filled weights, inputs and outputs, made once."""
    return functools.cache(load_reference)
