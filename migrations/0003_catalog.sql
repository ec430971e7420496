-- A service is a template in versions; a sold instance keeps the version that it was sold with.
CREATE TABLE services_catalog (
    id           UUID PRIMARY KEY,
    slug         TEXT        NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{1,30}$'),
    version      INTEGER     NOT NULL CHECK (version > 0),
    status       TEXT        NOT NULL CHECK (status IN ('draft', 'published', 'retired')),
    -- The start-up synchronisation replaces what it brought itself, never what an admin made.
    origin       TEXT        NOT NULL CHECK (origin IN ('file', 'api')),
    name         TEXT        NOT NULL,
    template     JSONB       NOT NULL,
    -- Hash of the template's canonical form: the embedded set is synchronised at start by comparing it.
    digest       TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    published_at TIMESTAMPTZ,
    retired_at   TIMESTAMPTZ,
    CONSTRAINT services_catalog_version_key UNIQUE (slug, version)
);
CREATE UNIQUE INDEX services_catalog_published_idx ON services_catalog (slug) WHERE status = 'published';
CREATE INDEX services_catalog_created_idx ON services_catalog (created_at, id);

CREATE TABLE service_plans (
    id                UUID PRIMARY KEY,
    service_id        UUID    NOT NULL REFERENCES services_catalog (id),
    code              TEXT    NOT NULL CHECK (code ~ '^[a-z][a-z0-9-]{0,30}$'),
    name              TEXT    NOT NULL,
    price_idr         BIGINT  NOT NULL CHECK (price_idr >= 0),
    cpu_request_milli INTEGER NOT NULL CHECK (cpu_request_milli > 0),
    cpu_limit_milli   INTEGER NOT NULL CHECK (cpu_limit_milli >= cpu_request_milli),
    mem_request_mib   INTEGER NOT NULL CHECK (mem_request_mib > 0),
    mem_limit_mib     INTEGER NOT NULL CHECK (mem_limit_mib >= mem_request_mib),
    disk_mib          INTEGER NOT NULL CHECK (disk_mib > 0),
    CONSTRAINT service_plans_code_key UNIQUE (service_id, code)
);
