-- What each part of a job has saved, one row each, as of the last commit.
CREATE TABLE section (
    -- The name of the part; docs/DATA_MODEL.md says what each holds.
    name        TEXT PRIMARY KEY,
    -- The struct that the part saves, as msgpack. Its CRC-32 is in the row of snapshot.
    data        BLOB NOT NULL
) STRICT;

-- One row, or none before the first commit: the last commit, and the checksums of all its parts.
CREATE TABLE snapshot_3 (
    -- Always 1.
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- The number of the commit, from 1 without gaps.
    commit_no   INTEGER NOT NULL CHECK (commit_no >= 1),
    -- The model version.
    version     INTEGER NOT NULL CHECK (version >= 0),
    -- 3: as described here. 2: sums is the State of earlier.py, as schemas 1 and 2 kept it, until the next commit.
    form        INTEGER NOT NULL,
    -- JSON text: the CRC-32 of each section and each vector, and of each table the sum of the CRC-32 of its rows.
    sums        ANY NOT NULL,
    -- CRC-32 of commit_no, version and sums.
    crc         INTEGER NOT NULL
) STRICT;

INSERT INTO snapshot_3 SELECT one, commit_no, version, 2, state, crc FROM snapshot;
DROP TABLE snapshot;
ALTER TABLE snapshot_3 RENAME TO snapshot;
