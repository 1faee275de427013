"""`python -m examples.scenergy_studio` starts it, with `--check` it checks itself."""

import sys

from examples.scenergy_studio.check import check, play
from examples.trial import main

sys.exit(main(check, play))
