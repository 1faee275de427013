"""One small module a system, all with the same names.

`TITLE`, `PACKAGES` (what to install; nothing for what runs beside the harness), `STORES` (the
databases it is tried on), `SETTINGS` (what was set, and its default), `work(url)` (run a worker
until the process ends) and `Client(url)` with `migrate()`, `enqueue(payload)` and `state(id)`.

The harness imports these modules for their constants, so they import their system where they use
it.
"""
