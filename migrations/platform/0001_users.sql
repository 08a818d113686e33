-- Accounts and their refresh tokens. Times are milliseconds since 1970, ids are UUIDs (version 7).

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    email TEXT NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    username TEXT NOT NULL COLLATE NOCASE CHECK (length(username) BETWEEN 3 AND 32),
    password_hash TEXT NOT NULL CHECK (length(password_hash) = 60),
    role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    display_name TEXT,
    bio TEXT,
    avatar_url TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX users_by_email ON users (email);
CREATE UNIQUE INDEX users_by_username ON users (username);

-- A login begins a family; each refresh replaces its token. A used token that comes again revokes the family.
CREATE TABLE refresh_families (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revoke_reason TEXT CHECK (revoke_reason IN ('logout', 'reuse', 'disabled'))
) STRICT;

CREATE INDEX refresh_families_by_user ON refresh_families (user_id, created_at DESC);

-- Only the SHA-256 of a token is kept (base64url).
CREATE TABLE refresh_tokens (
    hash TEXT NOT NULL PRIMARY KEY CHECK (length(hash) = 43),
    family_id TEXT NOT NULL REFERENCES refresh_families (id) ON DELETE CASCADE,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    replaced_by TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
