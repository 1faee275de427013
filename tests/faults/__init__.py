"""Real processes, real faults: `python -m tests.faults [full|quick] [databases…] [names…]`."""
