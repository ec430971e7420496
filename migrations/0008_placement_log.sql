-- What placement is decided on, as a log of changes: each replica holds nodes, placements and policy in memory, and reads
-- again the rows that the log names (scheduling::log says how, and why no entry can be missed).

-- Written by triggers, so that nobody who changes a row can forget it. An entry names a row and holds nothing of it.
CREATE TABLE placement_log (
    position       BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The writing transaction: readers go by it, since positions are drawn before they are committed.
    xid            XID8    NOT NULL DEFAULT pg_current_xact_id(),
    kind           TEXT    NOT NULL CHECK (kind IN ('node', 'placement', 'volume', 'policy', 'prices')),
    node_id        UUID,
    instance_id    UUID,
    policy_version INTEGER,
    CHECK ((kind = 'node') = (node_id IS NOT NULL)),
    CHECK ((kind IN ('placement', 'volume')) = (instance_id IS NOT NULL)),
    CHECK ((kind = 'policy') = (policy_version IS NOT NULL))
);
CREATE INDEX placement_log_xid_idx ON placement_log (xid);

-- Entries of transactions before this one may be gone.
CREATE TABLE placement_log_trimmed (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    before    XID8    NOT NULL DEFAULT '0'
);
INSERT INTO placement_log_trimmed DEFAULT VALUES;

CREATE FUNCTION log_placement() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO placement_log (kind, instance_id) VALUES ('placement', OLD.instance_id);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND NEW.instance_id <> OLD.instance_id THEN
        INSERT INTO placement_log (kind, instance_id) VALUES ('placement', NEW.instance_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER placements_log AFTER INSERT OR UPDATE OR DELETE ON placements
    FOR EACH ROW EXECUTE FUNCTION log_placement();

-- That a node was seen again is no change of it. Every other column counts, also those that are added one day.
CREATE FUNCTION log_node() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.observed_at = NEW.observed_at;
        IF OLD IS NOT DISTINCT FROM NEW THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO placement_log (kind, node_id) VALUES ('node', CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END);
    RETURN NULL;
END $$;
CREATE TRIGGER worker_nodes_log AFTER INSERT OR UPDATE OR DELETE ON worker_nodes
    FOR EACH ROW EXECUTE FUNCTION log_node();

-- Where an instance's data lies says whether it can follow to another node.
CREATE FUNCTION log_volume() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO placement_log (kind, instance_id) VALUES ('volume', NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER service_instances_log AFTER UPDATE OF volume_node_id ON service_instances
    FOR EACH ROW WHEN (OLD.volume_node_id IS DISTINCT FROM NEW.volume_node_id) EXECUTE FUNCTION log_volume();

CREATE FUNCTION log_policy() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO placement_log (kind, policy_version)
    VALUES ('policy', CASE WHEN TG_OP = 'DELETE' THEN OLD.version ELSE NEW.version END);
    RETURN NULL;
END $$;
CREATE TRIGGER placement_policies_log AFTER INSERT OR UPDATE OR DELETE ON placement_policies
    FOR EACH ROW EXECUTE FUNCTION log_policy();

-- What the resources of each kind of node are worth, so that every replica prefers the same nodes: a hint that one replica
-- computes now and then. `made_from` is what they were computed from, to tell when that has changed much.
CREATE TABLE placement_prices (
    singleton   BOOLEAN     PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    prices      JSONB       NOT NULL,
    made_from   JSONB       NOT NULL,
    computed_at TIMESTAMPTZ NOT NULL
);

CREATE FUNCTION log_prices() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO placement_log (kind) VALUES ('prices');
    RETURN NULL;
END $$;
CREATE TRIGGER placement_prices_log AFTER INSERT OR UPDATE OR DELETE ON placement_prices
    FOR EACH ROW EXECUTE FUNCTION log_prices();
