"""alpaca-py against the simulator: everything a trading program does with it. Run by tests/conformance/run.py."""

import sys

from harness import run_checks

import streams  # noqa: I001  its streams begin here and are read while the others work
import orders  # noqa: F401
import classes  # noqa: F401
import holdings  # noqa: F401
import refusals  # noqa: F401
import history  # noqa: F401
import data_streams  # noqa: F401

data_streams.begin()
try:
    run_checks()
finally:
    data_streams.stop()
    streams.stop()
sys.exit(0)
