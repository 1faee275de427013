"""`python -m examples.leora_scan` starts it, with `--check` it checks itself."""

import sys

from examples.leora_scan.check import check, play
from examples.trial import main

sys.exit(main(check, play))
