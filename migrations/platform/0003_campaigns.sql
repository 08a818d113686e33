-- Campaigns of advertisers, and the matches between a campaign and a piece of content.

CREATE TABLE campaigns (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'paused', 'completed', 'cancelled')),
    -- In the currency's smallest unit.
    budget_amount INTEGER NOT NULL DEFAULT 0 CHECK (budget_amount >= 0),
    budget_currency TEXT NOT NULL DEFAULT 'USD' CHECK (length(budget_currency) = 3),
    -- JSON: what audience and what content the campaign looks for.
    criteria TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(criteria)),
    starts_at INTEGER,
    ends_at INTEGER CHECK (ends_at IS NULL OR starts_at IS NULL OR ends_at >= starts_at),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX campaigns_by_user ON campaigns (user_id, created_at DESC, id DESC);
CREATE INDEX campaigns_by_status ON campaigns (status, starts_at);

CREATE TABLE matches (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    campaign_id TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    content_id TEXT NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    -- The author of the content.
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    status TEXT NOT NULL DEFAULT 'proposed' CHECK (status IN ('proposed', 'accepted', 'declined', 'expired')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (campaign_id, content_id)
) STRICT;

CREATE INDEX matches_by_user ON matches (user_id, status, created_at DESC);
CREATE INDEX matches_by_campaign ON matches (campaign_id, status, score DESC);
CREATE INDEX matches_by_content ON matches (content_id);
