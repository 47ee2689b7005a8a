"""alpaca-py against the simulator: everything a trading program does with it. Run by tests/conformance/run.py."""

from harness import run_checks

# Checks run in the order in which they are imported here.
import orders  # noqa: F401
import classes  # noqa: F401
import holdings  # noqa: F401
import refusals  # noqa: F401
import streams
import history  # noqa: F401
import data_streams

# Market data is read while the other checks run.
data_streams.begin()
try:
    run_checks()
finally:
    data_streams.stop()
    streams.stop()
