"""`python -m examples.ai_worker` starts it, with `--check` it checks itself."""

import sys

from examples.ai_worker.check import check, play
from examples.trial import main

sys.exit(main(check, play))
