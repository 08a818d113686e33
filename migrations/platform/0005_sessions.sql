-- Sessions that ended, until they are removed from KV. Written in the transaction that ends one, whoever ends it.

CREATE TABLE ended_sessions (
    -- The family of refresh tokens, which may be gone already.
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER refresh_families_revoked AFTER UPDATE OF revoked_at ON refresh_families
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
BEGIN
    INSERT INTO ended_sessions (id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
END;

-- Fires for the families of a deleted user too.
CREATE TRIGGER refresh_families_deleted AFTER DELETE ON refresh_families
WHEN OLD.revoked_at IS NULL
BEGIN
    INSERT INTO ended_sessions (id) VALUES (OLD.id) ON CONFLICT DO NOTHING;
END;

-- An account that is disabled, by whatever statement, has no sessions.
CREATE TRIGGER users_disabled AFTER UPDATE OF status ON users
WHEN NEW.status = 'disabled'
BEGIN
    UPDATE refresh_families
    SET revoked_at = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), revoke_reason = 'disabled'
    WHERE user_id = NEW.id AND revoked_at IS NULL;
END;
