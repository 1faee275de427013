-- The app's own table, and the document's: its monitoring queries run on this view as written.

CREATE TABLE photo (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    prompt text NOT NULL,
    image bytea NOT NULL
);

CREATE VIEW photo_generation_queue AS
SELECT
    job.id,
    job.payload ->> 'prompt' AS prompt,
    job.status,
    job.attempts,
    job.max_attempts AS "maxAttempts",
    coalesce(worker.label, job.worker) AS "lockedBy",
    CASE WHEN job.status = 'processing' THEN greatest(job.started_at, worker.seen_at) END AS "lockedAt",
    CASE WHEN job.status = 'rate_limited' THEN job.run_at END AS "retryAt",
    job.error,
    job.created_at AS "createdAt",
    job.completed_at AS "completedAt"
FROM jobq_job AS job
LEFT JOIN jobq_worker AS worker ON worker.id = job.worker
WHERE job.type = 'photo_generation';

-- "Release stale locks" has nothing left to do: workers release each other's, after 30 seconds.
CREATE RULE released_already AS ON UPDATE TO photo_generation_queue DO INSTEAD NOTHING;
