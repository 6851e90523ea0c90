-- Scopes have other names, of what a token can really do; 'write' could hand in code, and so 'submit' can.
CREATE TABLE scoped (
    -- Names the token where it is listed and revoked; says nothing of what it is.
    id         TEXT PRIMARY KEY,
    -- What a person calls it: who or what uses it.
    name       TEXT NOT NULL,
    -- What it may do: 'view'; 'operate' jobs, too; 'submit' jobs, too, and so run code; 'admin': all.
    scope      TEXT NOT NULL CHECK (scope IN ('view', 'operate', 'submit', 'admin')),
    -- SHA-256 of the token, which has 256 random bits. The token itself is shown once and kept nowhere.
    sha256     BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    -- Seconds since 1970 by the wall clock, for people: nothing is decided by it.
    created_at REAL NOT NULL
) STRICT;

INSERT INTO scoped
SELECT id, name, CASE scope WHEN 'read' THEN 'view' WHEN 'write' THEN 'submit' ELSE scope END, sha256, created_at
FROM token;

DROP TABLE token;

ALTER TABLE scoped RENAME TO token;

-- Links to the dashboard that have been opened, until they would have expired: each works once.
CREATE TABLE opened_link (
    -- SHA-256 of the link's code.
    sha256     BLOB PRIMARY KEY CHECK (length(sha256) = 32),
    -- Seconds since 1970 by the wall clock: from then on the code itself is refused.
    expires_at REAL NOT NULL
) STRICT;
