-- The commercial side: what was bought, for which period, and the money.
CREATE TABLE subscriptions (
    id                   UUID PRIMARY KEY,
    user_id              UUID        NOT NULL REFERENCES users (id),
    service_id           UUID        NOT NULL REFERENCES services_catalog (id),
    plan_id              UUID        NOT NULL REFERENCES service_plans (id),
    status               TEXT        NOT NULL CHECK (status IN ('pending', 'active', 'expired', 'cancelled')),
    cancel_at_period_end BOOLEAN     NOT NULL DEFAULT FALSE,
    -- Pending: until when an unpaid order holds its capacity, or until when a paid one must have become ready.
    hold_expires_at      TIMESTAMPTZ,
    ready_deadline       TIMESTAMPTZ,
    -- The paid period that runs now. period_no 0 = paid, not begun: the first begins when the service is first ready.
    period_no            INTEGER     NOT NULL DEFAULT 0 CHECK (period_no >= 0),
    period_start         TIMESTAMPTZ,
    period_end           TIMESTAMPTZ,
    -- Renewed in grace: the new anchor starts at the observed restart, so the period waits for it.
    awaiting_restart     BOOLEAN     NOT NULL DEFAULT FALSE,
    grace_until          TIMESTAMPTZ,
    expired_at           TIMESTAMPTZ,
    cancelled_at         TIMESTAMPTZ,
    cancel_reason        TEXT CHECK (cancel_reason IN ('customer', 'period_end', 'unpaid', 'never_ready', 'grace_over', 'admin')),
    -- When the clock has something to do with this row; the tasks claim by it.
    next_transition_at   TIMESTAMPTZ,
    version              BIGINT      NOT NULL DEFAULT 1,
    created_at           TIMESTAMPTZ NOT NULL,
    updated_at           TIMESTAMPTZ NOT NULL,
    CHECK (status <> 'cancelled' OR cancelled_at IS NOT NULL),
    CHECK (status <> 'expired' OR grace_until IS NOT NULL)
);
CREATE INDEX subscriptions_user_idx ON subscriptions (user_id, created_at, id);
CREATE INDEX subscriptions_service_idx ON subscriptions (service_id);
CREATE INDEX subscriptions_plan_idx ON subscriptions (plan_id);
CREATE INDEX subscriptions_created_idx ON subscriptions (created_at, id);
CREATE INDEX subscriptions_due_idx ON subscriptions (next_transition_at) WHERE next_transition_at IS NOT NULL;
-- Paid, and waiting for the service to be seen ready: what begins next is looked for here.
CREATE INDEX subscriptions_unbegun_idx ON subscriptions (id) WHERE status = 'active' AND period_start IS NULL;

-- Invoices. One that stands per period: a repeated renewal finds the row and is a no-op. A void or credited one no
-- longer stands, so the period can be bought again.
CREATE TABLE billing (
    id              UUID PRIMARY KEY,
    number          BIGINT      GENERATED ALWAYS AS IDENTITY,
    user_id         UUID        NOT NULL REFERENCES users (id),
    subscription_id UUID        NOT NULL REFERENCES subscriptions (id),
    period_no       INTEGER     NOT NULL CHECK (period_no > 0),
    description     TEXT        NOT NULL,
    amount_idr      BIGINT      NOT NULL CHECK (amount_idr >= 0),
    status          TEXT        NOT NULL CHECK (status IN ('open', 'paid', 'void', 'credited')),
    due_at          TIMESTAMPTZ NOT NULL,
    paid_at         TIMESTAMPTZ,
    closed_at       TIMESTAMPTZ,
    period_start    TIMESTAMPTZ,
    period_end      TIMESTAMPTZ,
    created_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT billing_number_key UNIQUE (number),
    CHECK (status NOT IN ('paid', 'credited') OR paid_at IS NOT NULL)
);
CREATE UNIQUE INDEX billing_period_idx ON billing (subscription_id, period_no) WHERE status IN ('open', 'paid');
CREATE INDEX billing_subscription_idx ON billing (subscription_id);
CREATE INDEX billing_user_idx ON billing (user_id, created_at, id);
CREATE INDEX billing_created_idx ON billing (created_at, id);

-- Movements of money against an invoice. `(gateway, gateway_ref)` is the dedupe of everything a gateway may repeat.
CREATE TABLE transactions (
    id          UUID PRIMARY KEY,
    billing_id  UUID        NOT NULL REFERENCES billing (id),
    user_id     UUID        NOT NULL REFERENCES users (id),
    kind        TEXT        NOT NULL CHECK (kind IN ('payment', 'credit')),
    gateway     TEXT        NOT NULL,
    gateway_ref TEXT        NOT NULL,
    amount_idr  BIGINT      NOT NULL CHECK (amount_idr >= 0),
    status      TEXT        NOT NULL CHECK (status IN ('created', 'pending', 'paid', 'failed', 'expired')),
    -- The gateway is called after commit, from a row that is leased like any other work.
    next_attempt_at TIMESTAMPTZ,
    attempts    INTEGER     NOT NULL DEFAULT 0,
    lease_token BIGINT      NOT NULL DEFAULT 0,
    lease_until TIMESTAMPTZ,
    payment_url TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT transactions_ref_key UNIQUE (gateway, gateway_ref)
);
CREATE INDEX transactions_billing_idx ON transactions (billing_id);
CREATE INDEX transactions_user_idx ON transactions (user_id, created_at, id);
CREATE INDEX transactions_created_idx ON transactions (created_at, id);
CREATE INDEX transactions_due_idx ON transactions (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE UNIQUE INDEX transactions_one_paid_idx ON transactions (billing_id) WHERE kind = 'payment' AND status = 'paid';
