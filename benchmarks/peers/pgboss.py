"""pg-boss, in batches: `pgboss.cjs` runs it."""

TITLE = "pg-boss"
PACKAGES = ("pg-boss@12.30.0",)  # later ones want a release of rrule-temporal that is not there
SCRIPT = "pgboss.cjs"
STORE = "postgresql"
SLOW = False
NOOPS = 500
SETTINGS = (
    "batchSize 500 for no-ops and 100 for sleepers, burstWhenBatchFull, "
    "NOTIFY on, polling 0.5 s; finished jobs kept"
)
DONE = "SELECT NOT EXISTS (SELECT 1 FROM pgboss.job WHERE name = 'perform' AND state < 'completed')"
