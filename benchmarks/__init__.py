"""How fast jobq is, beside the bare drivers in the same run. `nox -s bench` runs everything."""
