import sys
from harness import run_checks
import orders
run_checks()
