-- Where a version came from: the start-up synchronisation replaces what it brought itself, never what an admin made.
ALTER TABLE services_catalog
    ADD COLUMN origin TEXT NOT NULL DEFAULT 'file' CHECK (origin IN ('file', 'api'));
ALTER TABLE services_catalog ALTER COLUMN origin DROP DEFAULT;
