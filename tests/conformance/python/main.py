import sys
from harness import run_checks
import streams
run_checks(); streams.stop()
