-- Usage by instance and time, filled by the collector; partitioned so that retention drops whole tables.
CREATE TABLE usage_metrics (
    instance_id UUID             NOT NULL REFERENCES service_instances (id),
    sampled_at  TIMESTAMPTZ      NOT NULL,
    metric      TEXT             NOT NULL CHECK (metric IN ('cpu_milli', 'mem_mib', 'disk_mib', 'net_rx_bytes', 'net_tx_bytes')),
    value       BIGINT           NOT NULL CHECK (value >= 0),
    PRIMARY KEY (instance_id, metric, sampled_at)
) PARTITION BY RANGE (sampled_at);
CREATE TABLE usage_metrics_default PARTITION OF usage_metrics DEFAULT;
