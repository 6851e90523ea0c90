-- One row: whose journal this is and who may write to it.
CREATE TABLE job (
    -- Always 1: there is one row.
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The job's id; a journal is refused by any other job.
    id          TEXT NOT NULL,
    -- 32 random bytes that seal this job's leases. A restored backup gets another, so that no lease given out after the
    -- backup was made is taken for one given out after its restoration.
    key         BLOB NOT NULL CHECK (length(key) = 32),
    -- Counts the processes that have held this journal. A commit names its own and is refused when it is not this one.
    incarnation INTEGER NOT NULL CHECK (incarnation >= 0)
) STRICT;

-- One row, or none before the first commit: all that is small, as of the last commit.
CREATE TABLE snapshot (
    -- Always 1.
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number of the commit, from 1 without gaps.
    commit_no   INTEGER NOT NULL CHECK (commit_no >= 1),
    -- The model version; outside of the state so that it can be told even when that is damaged.
    version     INTEGER NOT NULL CHECK (version >= 0),
    -- State in sqlite_journal.py as msgpack: leases, counts, times, the random stream, and the CRC of every part.
    state       BLOB NOT NULL,
    -- CRC-32 of commit_no, version and state.
    crc         INTEGER NOT NULL
) STRICT;

-- The long vectors, each written only by the commits that change it, and then in place.
CREATE TABLE vector (
    -- What a row is written in place by.
    id          INTEGER PRIMARY KEY,
    -- 'model' (float32), 'total' (float64, the sum of the open buffer), 'optimizer 0' and so on (float64).
    name        TEXT NOT NULL UNIQUE,
    -- Little-endian numbers, one after the other. Its CRC-32 is in the state.
    data        BLOB NOT NULL
) STRICT;

-- Which tasks are counted, for each model version whose results may still come.
CREATE TABLE counted (
    -- The model version that the tasks were to be trained from.
    version     INTEGER PRIMARY KEY,
    -- The number of the first task of the version, which the first bit stands for.
    first_task  INTEGER NOT NULL,
    -- Job time in seconds until which the row is kept at least.
    keep_until  REAL NOT NULL,
    -- Bit i % 8 of byte i / 8 is set when task first_task + i is counted. The CRC-32 of the row is in the state.
    bits        BLOB NOT NULL
) STRICT;
