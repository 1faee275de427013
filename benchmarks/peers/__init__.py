"""Other job queues, each installed by its name into an environment of its own.

A module or script a peer: it imports its system where it uses it, for it runs in that system's
environment only. `TITLE`, `PACKAGES`, `SCRIPT` (what Node runs), `STORE`, `SETTINGS`, `NOOPS` (the
concurrency for no-ops) and `DONE` (a question to the database: is everything done?) are for the
harness, which is `systems`. `SLOW` peers drain a tenth of the jobs.
"""
