-- Events taken from the queue, counts kept with them, and what the nightly roll-up makes of a day.

CREATE TABLE analytics_events (
    -- The event's own id: a second delivery is a conflict, and ignored.
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    type TEXT NOT NULL,
    actor_id TEXT,
    subject_id TEXT NOT NULL,
    data TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(data)),
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    -- The delivery that brought it first: what that batch adds to the counts.
    delivery_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX analytics_events_by_time ON analytics_events (occurred_at, type);
CREATE INDEX analytics_events_by_actor ON analytics_events (actor_id, type, occurred_at) WHERE actor_id IS NOT NULL;
CREATE INDEX analytics_events_by_delivery ON analytics_events (delivery_id);

-- Counts per UTC day (YYYY-MM-DD), in step with the events.
CREATE TABLE analytics_counts (
    day TEXT NOT NULL CHECK (length(day) = 10),
    type TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (events >= 0),
    last_event_at INTEGER NOT NULL,
    PRIMARY KEY (day, type)
) STRICT, WITHOUT ROWID;

-- Final figures of a day: they stay when the raw events are deleted.
CREATE TABLE analytics_daily (
    day TEXT NOT NULL CHECK (length(day) = 10),
    type TEXT NOT NULL,
    events INTEGER NOT NULL,
    actors INTEGER NOT NULL,
    subjects INTEGER NOT NULL,
    rolled_up_at INTEGER NOT NULL,
    PRIMARY KEY (day, type)
) STRICT, WITHOUT ROWID;
