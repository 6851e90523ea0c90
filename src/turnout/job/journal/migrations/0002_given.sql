-- The live leases, one row each. Their checksum is in the state of the snapshot. A journal of schema 1 has
-- them in that state instead, until its next commit.
CREATE TABLE lease (
    -- The number of the task.
    task        INTEGER PRIMARY KEY,
    -- Lease in leases.py as msgpack.
    lease       BLOB NOT NULL
) STRICT;

-- Which devices have had a task of the newest version, and which.
CREATE TABLE taken (
    -- Its hash.
    device      BLOB PRIMARY KEY,
    -- The number of the task, or -1 and -2 as in places.py.
    task        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
