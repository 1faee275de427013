"""The same images at a provider with a limit, by jobq and by others: an adapter each.

`python -m benchmarks.limiters.NAME work STORE` is one worker of 12 slots; `… submit STORE` takes
lines such as `image 7` and enqueues each. `TITLE`, `PACKAGES`, `STORE` (postgresql or redis),
`SETTINGS` and `VARIANTS` are for the harness, which is `benchmarks.rows.provider`. A module imports
its system where it uses it: it runs in that system's environment only.
"""
