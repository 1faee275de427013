"""`python -m examples.carousel` starts it, with `--check` it checks itself."""

import sys

from examples.carousel.check import check, play
from examples.trial import main

sys.exit(main(check, play))
