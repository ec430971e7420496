-- Accounts, their sessions and what was done in their name. Account = user.
CREATE TABLE users (
    id             UUID PRIMARY KEY,
    email          TEXT        NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    password_hash  TEXT        NOT NULL,
    name           TEXT        NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    role           TEXT        NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'support', 'admin')),
    status         TEXT        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    -- The random DNS label that stands for the customer in host names and in the namespace's name.
    handle         TEXT        NOT NULL CHECK (handle ~ '^[a-z][a-z0-9]{7,15}$'),
    -- Bumped by every change of rights: an access token that carries an older value is refused at once.
    auth_version   BIGINT      NOT NULL DEFAULT 1,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_handle_key UNIQUE (handle)
);
CREATE INDEX users_created_idx ON users (created_at, id);

-- One row is one family of refresh tokens. Token n is derived from (seed, n) under the server's key, so a repeated
-- refresh gets the same successor, and a stolen table alone mints nothing.
CREATE TABLE sessions (
    id             UUID PRIMARY KEY,
    user_id        UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seed           BYTEA       NOT NULL CHECK (octet_length(seed) = 32),
    counter        BIGINT      NOT NULL DEFAULT 0,
    rotated_at     TIMESTAMPTZ NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    expires_at     TIMESTAMPTZ NOT NULL,
    revoked_at     TIMESTAMPTZ,
    revoked_reason TEXT CHECK (revoked_reason IN ('logout', 'reuse', 'rights', 'admin', 'expired')),
    user_agent     TEXT        NOT NULL DEFAULT '' CHECK (length(user_agent) <= 300),
    CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE INDEX sessions_user_idx ON sessions (user_id, created_at);
CREATE INDEX sessions_expiry_idx ON sessions (expires_at);

CREATE TABLE idempotency_keys (
    user_id      UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key          TEXT        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint  BYTEA       NOT NULL,
    status_code  INTEGER     NOT NULL,
    location     TEXT,
    body         JSONB       NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_expiry_idx ON idempotency_keys (expires_at);

-- Append-only: the trigger refuses what a bug or a curious hand might try.
CREATE TABLE audit_log (
    id          UUID PRIMARY KEY,
    occurred_at TIMESTAMPTZ NOT NULL,
    actor_id    UUID,
    actor_role  TEXT        NOT NULL,
    action      TEXT        NOT NULL CHECK (length(action) BETWEEN 1 AND 100),
    subject     TEXT        NOT NULL CHECK (length(subject) <= 50),
    subject_id  UUID,
    outcome     TEXT        NOT NULL CHECK (outcome IN ('allowed', 'refused')),
    request_id  TEXT,
    detail      JSONB       NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_time_idx ON audit_log (occurred_at, id);
CREATE INDEX audit_log_subject_idx ON audit_log (subject, subject_id, occurred_at);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
