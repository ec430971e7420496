-- The customer's namespace is reconciled as a row of its own, so that two instances never race on it.
CREATE TABLE customer_namespaces (
    id                  UUID PRIMARY KEY,
    user_id             UUID        NOT NULL REFERENCES users (id),
    region_id           UUID        NOT NULL REFERENCES regions (id),
    name                TEXT        NOT NULL CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
    uid                 TEXT,
    generation          BIGINT      NOT NULL DEFAULT 1,
    observed_generation BIGINT      NOT NULL DEFAULT 0,
    -- What the quota in the cluster was last seen to allow: raised before a change, lowered after it.
    applied_quota       JSONB,
    next_reconcile_at   TIMESTAMPTZ,
    attempts            INTEGER     NOT NULL DEFAULT 0,
    message             TEXT,
    lease_token         BIGINT      NOT NULL DEFAULT 0,
    lease_until         TIMESTAMPTZ,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    CONSTRAINT customer_namespaces_name_key UNIQUE (region_id, name),
    CONSTRAINT customer_namespaces_user_key UNIQUE (user_id, region_id)
);
CREATE INDEX customer_namespaces_due_idx ON customer_namespaces (next_reconcile_at) WHERE next_reconcile_at IS NOT NULL;

CREATE TABLE service_instances (
    id                  UUID PRIMARY KEY,
    user_id             UUID        NOT NULL REFERENCES users (id),
    subscription_id     UUID        NOT NULL REFERENCES subscriptions (id),
    namespace_id        UUID        NOT NULL REFERENCES customer_namespaces (id),
    service_id          UUID        NOT NULL REFERENCES services_catalog (id),
    plan_id             UUID        NOT NULL REFERENCES service_plans (id),
    name                TEXT        NOT NULL,
    host                TEXT        NOT NULL,
    inputs              JSONB       NOT NULL DEFAULT '{}',
    -- Three wills and where it shall run.
    wanted              TEXT        NOT NULL DEFAULT 'running' CHECK (wanted IN ('running', 'stopped')),
    entitled            TEXT        NOT NULL DEFAULT 'suspended' CHECK (entitled IN ('yes', 'suspended', 'purge')),
    held                BOOLEAN     NOT NULL DEFAULT FALSE,
    restart_no          BIGINT      NOT NULL DEFAULT 0,
    generation          BIGINT      NOT NULL DEFAULT 1,
    -- Where the data lies when its volume cannot move (local-path): every later placement is pinned to it.
    volume_node_id      UUID        REFERENCES worker_nodes (id),
    -- Observed.
    phase               TEXT        NOT NULL DEFAULT 'pending' CHECK (phase IN ('pending', 'provisioning', 'running',
                            'degraded', 'stopping', 'stopped', 'migrating', 'failed', 'deleting', 'deleted', 'unknown')),
    reason              TEXT        NOT NULL DEFAULT 'accepted',
    message             TEXT        NOT NULL DEFAULT '',
    observed_generation BIGINT      NOT NULL DEFAULT 0,
    observed_at         TIMESTAMPTZ,
    -- The first administrator: pending → created → verified → settled (env_once: flag off, rolled out again).
    admin_state         TEXT        NOT NULL DEFAULT 'pending' CHECK (admin_state IN ('pending', 'created', 'verified', 'settled')),
    -- The number of its present setup or verify pod, and when the next one may start after a failed one.
    admin_attempt       INTEGER     NOT NULL DEFAULT 1 CHECK (admin_attempt > 0),
    admin_retry_at      TIMESTAMPTZ,
    first_ready_at      TIMESTAMPTZ,
    -- Rises with every observed not running → running, and when a later generation is first seen running, so that a
    -- renewal can wait for its own restart.
    last_ready_at       TIMESTAMPTZ,
    next_reconcile_at   TIMESTAMPTZ,
    attempts            INTEGER     NOT NULL DEFAULT 0,
    lease_token         BIGINT      NOT NULL DEFAULT 0,
    lease_until         TIMESTAMPTZ,
    -- Rises with every desire and every touch: a pass that finds it changed at its end runs again at once.
    version             BIGINT      NOT NULL DEFAULT 1,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    deleted_at          TIMESTAMPTZ,
    CONSTRAINT service_instances_subscription_key UNIQUE (subscription_id),
    CHECK ((phase = 'deleted') = (deleted_at IS NOT NULL))
);
-- A host is unique while anything of its instance is left, and released only after the purge.
CREATE UNIQUE INDEX service_instances_host_idx ON service_instances (host) WHERE deleted_at IS NULL;
CREATE INDEX service_instances_user_idx ON service_instances (user_id, created_at, id);
CREATE INDEX service_instances_namespace_idx ON service_instances (namespace_id);
CREATE INDEX service_instances_service_idx ON service_instances (service_id);
CREATE INDEX service_instances_plan_idx ON service_instances (plan_id);
CREATE INDEX service_instances_volume_node_idx ON service_instances (volume_node_id);
CREATE INDEX service_instances_created_idx ON service_instances (created_at, id);
CREATE INDEX service_instances_due_idx ON service_instances (next_reconcile_at) WHERE next_reconcile_at IS NOT NULL;

-- Generated secrets, sealed with AES-256-GCM under master key `key_version`; the row's identity is the associated data.
CREATE TABLE instance_secrets (
    instance_id UUID    NOT NULL REFERENCES service_instances (id) ON DELETE CASCADE,
    key         TEXT    NOT NULL,
    key_version INTEGER NOT NULL,
    nonce       BYTEA   NOT NULL CHECK (octet_length(nonce) = 12),
    ciphertext  BYTEA   NOT NULL,
    PRIMARY KEY (instance_id, key)
);

-- How much a written request promises and what is held back. The policy in force is the highest version: rows are only
-- added, so that every placement can be explained by the policy that made it.
CREATE TABLE placement_policies (
    version    INTEGER PRIMARY KEY CHECK (version > 0),
    spec       JSONB       NOT NULL,
    -- configuration: a server started with other settings than those in force; admin: somebody changed it.
    cause      TEXT        NOT NULL CHECK (cause IN ('configuration', 'admin')),
    created_by UUID        REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    CHECK (cause <> 'admin' OR created_by IS NOT NULL)
);
CREATE INDEX placement_policies_author_idx ON placement_policies (created_by) WHERE created_by IS NOT NULL;

-- Where an instance is placed, and was. The open row is the ledger: node usage is the sum over open rows.
CREATE TABLE placements (
    id                UUID PRIMARY KEY,
    instance_id       UUID        NOT NULL REFERENCES service_instances (id),
    node_id           UUID        NOT NULL REFERENCES worker_nodes (id),
    -- Its certificate: the node that takes it if its own dies.
    backup_node_id    UUID        REFERENCES worker_nodes (id) CHECK (backup_node_id <> node_id),
    -- hold: reserved by an unpaid order; firm: paid; parked: CPU and memory given back, disk and data's place kept.
    state             TEXT        NOT NULL CHECK (state IN ('hold', 'firm', 'parked')),
    cause             TEXT        NOT NULL CHECK (cause IN ('order', 'start', 'renew', 'undo', 'expire', 'change_plan', 'failover', 'drain', 'rebalance')),
    cpu_request_milli INTEGER     NOT NULL CHECK (cpu_request_milli >= 0),
    mem_request_mib   INTEGER     NOT NULL CHECK (mem_request_mib >= 0),
    disk_mib          INTEGER     NOT NULL CHECK (disk_mib >= 0),
    -- The plan's, as it was placed: memory without a measured peak is counted at its limit. 0 where nothing runs.
    cpu_limit_milli   INTEGER     NOT NULL CHECK (cpu_limit_milli >= 0),
    mem_limit_mib     INTEGER     NOT NULL CHECK (mem_limit_mib >= 0),
    -- Its data can follow it to another node. Known before there is data: a volume of local-path never can.
    movable           BOOLEAN     NOT NULL,
    policy_version    INTEGER     NOT NULL REFERENCES placement_policies (version),
    created_at        TIMESTAMPTZ NOT NULL,
    released_at       TIMESTAMPTZ
);
CREATE UNIQUE INDEX placements_open_idx ON placements (instance_id) WHERE released_at IS NULL;
CREATE INDEX placements_instance_idx ON placements (instance_id, created_at);
CREATE INDEX placements_node_idx ON placements (node_id) WHERE released_at IS NULL;
CREATE INDEX placements_node_history_idx ON placements (node_id, created_at);
CREATE INDEX placements_backup_idx ON placements (backup_node_id) WHERE backup_node_id IS NOT NULL;
CREATE INDEX placements_policy_idx ON placements (policy_version);
