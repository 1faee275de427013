"""Limits, measured with real processes: `python -m tests.limits [quick] [databases…] [names…]`."""
