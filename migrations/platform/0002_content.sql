-- What users write, its media, and the events about it that wait to be sent.

CREATE TABLE content (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    body TEXT NOT NULL DEFAULT '',
    type TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    version INTEGER NOT NULL DEFAULT 1,
    -- The event of the last change: ties the outbox row to the change inside one transaction.
    last_event_id TEXT NOT NULL,
    media_key TEXT,
    media_type TEXT,
    media_byte_count INTEGER,
    media_etag TEXT,
    published_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((media_key IS NULL) = (media_type IS NULL) AND (media_key IS NULL) = (media_byte_count IS NULL))
) STRICT;

CREATE INDEX content_by_user ON content (user_id, created_at DESC, id DESC);
CREATE INDEX content_by_user_and_status ON content (user_id, status, created_at DESC, id DESC);
CREATE INDEX content_published ON content (created_at DESC, id DESC) WHERE status = 'published';

-- Written in the transaction of the change, deleted when the queue has taken the event.
CREATE TABLE content_outbox (
    event_id TEXT NOT NULL PRIMARY KEY CHECK (length(event_id) = 36),
    event TEXT NOT NULL CHECK (json_valid(event)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX content_outbox_by_age ON content_outbox (created_at);
