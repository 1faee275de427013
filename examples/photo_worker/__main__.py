"""`python -m examples.photo_worker` starts it, with `--check` it checks itself."""

import sys

from examples.photo_worker.check import check, play
from examples.trial import main

sys.exit(main(check, play, postgres=True))
