CREATE TABLE job (
    -- Made of the job's name and chance; part of file and socket names. Never used twice.
    id           TEXT PRIMARY KEY,
    -- What devices ask for; several jobs may share it.
    name         TEXT NOT NULL,
    -- 'running', 'cancelling' (a person ended it, its process has not ended yet), 'completed', 'cancelled', 'aborted'.
    state        TEXT NOT NULL CHECK (state IN ('running', 'cancelling', 'completed', 'cancelled', 'aborted')),
    -- Seconds since 1970 by the wall clock, for people: nothing is decided by it.
    submitted_at REAL NOT NULL,
    -- The same; null while the job is running or cancelling.
    finished_at  REAL,
    -- Why it ended, in words; empty while it runs.
    reason       TEXT NOT NULL DEFAULT '',
    -- What gateways must know of it: RunningJob as JSON, without the paths, which depend on where turnout runs.
    announcement BLOB NOT NULL
) STRICT;

-- The jobs that must be running are looked up at each start.
CREATE INDEX job_by_state ON job (state);
