-- A region is one K3s. Worker nodes as observed, and what the operator wants of them.
CREATE TABLE regions (
    id         UUID PRIMARY KEY,
    slug       TEXT        NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{1,30}$'),
    name       TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE worker_nodes (
    id                 UUID PRIMARY KEY,
    region_id          UUID        NOT NULL REFERENCES regions (id),
    name               TEXT        NOT NULL,
    -- The Node object's uid: a machine that rejoins under an old name is another machine.
    uid                TEXT        NOT NULL,
    availability       TEXT        NOT NULL CHECK (availability IN ('ready', 'suspect', 'offline', 'unknown')),
    admission          TEXT        NOT NULL CHECK (admission IN ('open', 'standby', 'cordoned', 'draining', 'removed')),
    cpu_milli          INTEGER     NOT NULL CHECK (cpu_milli >= 0),
    mem_mib            INTEGER     NOT NULL CHECK (mem_mib >= 0),
    disk_mib           BIGINT      NOT NULL CHECK (disk_mib >= 0),
    max_pods           INTEGER     NOT NULL CHECK (max_pods >= 0),
    -- Requests of the pods that are not ours: free capacity = allocatable - foreign.
    foreign_cpu_milli  INTEGER     NOT NULL DEFAULT 0,
    foreign_mem_mib    INTEGER     NOT NULL DEFAULT 0,
    foreign_pods       INTEGER     NOT NULL DEFAULT 0,
    -- The cluster itself takes no new pods here (kubectl cordon): kept apart from what our operator wants.
    unschedulable      BOOLEAN     NOT NULL DEFAULT FALSE,
    labels             JSONB       NOT NULL DEFAULT '{}',
    taints             JSONB       NOT NULL DEFAULT '[]',
    kubelet_version    TEXT        NOT NULL DEFAULT '',
    observed_at        TIMESTAMPTZ NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL,
    version            BIGINT      NOT NULL DEFAULT 1,
    CONSTRAINT worker_nodes_name_key UNIQUE (region_id, name)
);
