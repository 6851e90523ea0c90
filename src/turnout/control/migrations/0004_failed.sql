-- A job that ended short of its stop rule has failed, unless a person cancelled it: 'aborted' meant both to people.
CREATE TABLE failing (
    -- Made of the job's name and chance; part of file and socket names. Never used twice.
    id           TEXT PRIMARY KEY,
    -- What devices ask for; several jobs may share it.
    name         TEXT NOT NULL,
    -- 'running', 'cancelling' (a person cancelled it, its process has not ended yet), 'completed', 'cancelled', 'failed'.
    state        TEXT NOT NULL CHECK (state IN ('running', 'cancelling', 'completed', 'cancelled', 'failed')),
    -- Seconds since 1970 by the wall clock, for people: nothing is decided by it.
    submitted_at REAL NOT NULL,
    -- The same; null while the job is running or cancelling.
    finished_at  REAL,
    -- Why it ended, in words; empty while it runs.
    reason       TEXT NOT NULL DEFAULT '',
    -- What gateways must know of it: RunningJob as JSON, without the paths, which depend on where turnout runs.
    announcement BLOB NOT NULL
) STRICT;

INSERT INTO failing
SELECT id, name, CASE state WHEN 'aborted' THEN 'failed' ELSE state END, submitted_at, finished_at, reason, announcement
FROM job;

DROP TABLE job;

ALTER TABLE failing RENAME TO job;

-- The jobs that must be running are looked up at each start.
CREATE INDEX job_by_state ON job (state);
