CREATE TABLE token (
    -- Names the token where it is listed and revoked; says nothing of what it is.
    id         TEXT PRIMARY KEY,
    -- What a person calls it: who or what uses it.
    name       TEXT NOT NULL,
    -- What it is good for: 'read', 'write' (and read), or 'admin' (and both).
    scope      TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    -- SHA-256 of the token, which has 256 random bits. The token itself is shown once and kept nowhere.
    sha256     BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    -- Seconds since 1970 by the wall clock, for people: nothing is decided by it.
    created_at REAL NOT NULL
) STRICT;
