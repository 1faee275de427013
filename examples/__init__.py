"""Programs that use jobq, to run and to copy from."""
