-- What every domain leans on: leases, keys' fingerprints, the event log, operations, live tickets.

-- The database's clock, which tests may shift. Leases are the only users: every replica must agree on one clock.
CREATE TABLE clock_shift (singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton), shift INTERVAL NOT NULL DEFAULT '0');
INSERT INTO clock_shift DEFAULT VALUES;
CREATE FUNCTION lease_now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp() + (SELECT shift FROM clock_shift)
$$;

-- `token` rises with every change of holder: a paused holder's late write carries an older token and is refused.
CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT        NOT NULL,
    token      BIGINT      NOT NULL DEFAULT 1,
    expires_at TIMESTAMPTZ NOT NULL
);

-- Which signing and encryption keys this database's contents belong to; a server with others refuses to start.
CREATE TABLE key_fingerprints (
    purpose     TEXT        NOT NULL CHECK (purpose IN ('signing', 'encryption')),
    version     INTEGER     NOT NULL CHECK (version > 0),
    fingerprint TEXT        NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (purpose, version)
);

-- One stream per account, and the nil UUID for the system. `seq` is contiguous per stream; `position` orders all
-- streams for readers who may see everything (events::store::settled says up to where it is final).
CREATE TABLE event_streams (
    id        UUID PRIMARY KEY,
    last_seq  BIGINT NOT NULL DEFAULT 0,
    first_seq BIGINT NOT NULL DEFAULT 1
);
INSERT INTO event_streams (id) VALUES ('00000000-0000-0000-0000-000000000000');
CREATE TABLE events (
    stream      UUID        NOT NULL REFERENCES event_streams (id),
    seq         BIGINT      NOT NULL,
    position    BIGINT      GENERATED ALWAYS AS IDENTITY,
    id          UUID        NOT NULL,
    type        TEXT        NOT NULL CHECK (length(type) BETWEEN 3 AND 100),
    payload     JSONB       NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (stream, seq),
    CONSTRAINT events_id_key UNIQUE (id),
    CONSTRAINT events_position_key UNIQUE (position)
);
CREATE INDEX events_time_idx ON events (occurred_at);

CREATE TABLE operations (
    id           UUID PRIMARY KEY,
    user_id      UUID        REFERENCES users (id),
    kind         TEXT        NOT NULL CHECK (kind IN ('provision', 'start', 'stop', 'restart', 'delete', 'change_plan', 'renew')),
    subject      TEXT        NOT NULL CHECK (subject IN ('instance', 'node', 'subscription')),
    subject_id   UUID        NOT NULL,
    generation   BIGINT      NOT NULL,
    status       TEXT        NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'superseded', 'cancelled')),
    reason       TEXT,
    message      TEXT,
    -- [{name, started_at, finished_at}]: appended as the work is observed to advance.
    steps        JSONB       NOT NULL DEFAULT '[]',
    deadline     TIMESTAMPTZ NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    finished_at  TIMESTAMPTZ,
    CHECK ((status = 'running') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX operations_one_running_idx ON operations (subject, subject_id) WHERE status = 'running';
CREATE INDEX operations_subject_idx ON operations (subject, subject_id, created_at);
CREATE INDEX operations_user_idx ON operations (user_id, created_at);
CREATE INDEX operations_deadline_idx ON operations (deadline) WHERE status = 'running';

-- Short single-use tickets for the WebSocket, by hash; a browser cannot set headers on one.
CREATE TABLE live_tickets (
    hash        BYTEA PRIMARY KEY,
    user_id     UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id  UUID        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX live_tickets_user_idx ON live_tickets (user_id);
CREATE INDEX live_tickets_session_idx ON live_tickets (session_id);
CREATE INDEX live_tickets_expiry_idx ON live_tickets (expires_at);
