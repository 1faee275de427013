"""Patches of the shipped source that each break a promise: some test must notice every one."""
