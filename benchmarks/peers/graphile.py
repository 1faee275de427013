"""graphile-worker, with its local queue: `graphile.cjs` runs it."""

TITLE = "graphile-worker"
PACKAGES = ("graphile-worker",)
SCRIPT = "graphile.cjs"
STORE = "postgresql"
SLOW = False
NOOPS = 24
SETTINGS = (
    "localQueue size 500 (default off), completeJobBatchDelay 0 (default off), concurrency 24 "
    "for no-ops and 100 for sleepers; finished jobs are deleted"
)
DONE = "SELECT NOT EXISTS (SELECT 1 FROM graphile_worker._private_jobs)"
