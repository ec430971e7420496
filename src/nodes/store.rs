//! SQL of worker nodes.

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Admission;
use super::sync::Seen;
use crate::clock::{Ambient, Time};

/// What a row says of a node's present state.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: Uuid,
    pub name: String,
    pub uid: String,
    pub availability: String,
}

/// The region's nodes, for the one look that may write them: another replica's waits here, or both would tell of the
/// same change.
pub async fn known(conn: &mut PgConnection, region_id: Uuid) -> sqlx::Result<Vec<Known>> {
    sqlx::query!("SELECT id FROM regions WHERE id = $1 FOR NO KEY UPDATE", region_id)
        .fetch_one(&mut *conn)
        .await?;
    sqlx::query_as!(
        Known,
        "SELECT id, name, uid, availability FROM worker_nodes WHERE region_id = $1 ORDER BY name",
        region_id
    )
    .fetch_all(conn)
    .await
}

/// Writes what was seen of a node; its id when it is new or anything changed. `observed_at` alone is no change, and is
/// refreshed once a minute so that a quiet cluster costs few writes.
pub async fn upsert(
    conn: &mut PgConnection,
    ambient: &Ambient,
    region_id: Uuid,
    seen: &Seen,
) -> sqlx::Result<Option<Uuid>> {
    let now = ambient.now();
    let stale = now.minus(std::time::Duration::from_mins(1));
    sqlx::query_scalar!(
        r#"INSERT INTO worker_nodes AS n
               (id, region_id, name, uid, availability, admission, cpu_milli, mem_mib, disk_mib, max_pods,
                foreign_cpu_milli, foreign_mem_mib, foreign_pods, unschedulable, labels, taints, kubelet_version,
                observed_at, created_at)
           VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
           ON CONFLICT (region_id, name) DO UPDATE
              SET uid = EXCLUDED.uid, availability = EXCLUDED.availability, cpu_milli = EXCLUDED.cpu_milli,
                  mem_mib = EXCLUDED.mem_mib, disk_mib = EXCLUDED.disk_mib, max_pods = EXCLUDED.max_pods,
                  foreign_cpu_milli = EXCLUDED.foreign_cpu_milli, foreign_mem_mib = EXCLUDED.foreign_mem_mib,
                  foreign_pods = EXCLUDED.foreign_pods, unschedulable = EXCLUDED.unschedulable,
                  labels = EXCLUDED.labels, taints = EXCLUDED.taints, kubelet_version = EXCLUDED.kubelet_version,
                  observed_at = EXCLUDED.observed_at
            WHERE n.observed_at < $18
               OR (n.uid, n.availability, n.cpu_milli, n.mem_mib, n.disk_mib, n.max_pods, n.foreign_cpu_milli,
                   n.foreign_mem_mib, n.foreign_pods, n.unschedulable, n.labels, n.taints, n.kubelet_version)
                  IS DISTINCT FROM
                  (EXCLUDED.uid, EXCLUDED.availability, EXCLUDED.cpu_milli, EXCLUDED.mem_mib, EXCLUDED.disk_mib,
                   EXCLUDED.max_pods, EXCLUDED.foreign_cpu_milli, EXCLUDED.foreign_mem_mib, EXCLUDED.foreign_pods,
                   EXCLUDED.unschedulable, EXCLUDED.labels, EXCLUDED.taints, EXCLUDED.kubelet_version)
           RETURNING id"#,
        ambient.new_id(),
        region_id,
        seen.name,
        seen.uid,
        seen.availability,
        seen.cpu_milli,
        seen.mem_mib,
        seen.disk_mib,
        seen.max_pods,
        seen.foreign_cpu_milli,
        seen.foreign_mem_mib,
        seen.foreign_pods,
        seen.unschedulable,
        Json(&seen.labels) as _,
        seen.taints,
        seen.kubelet_version,
        now as Time,
        stale as Time,
    )
    .fetch_optional(conn)
    .await
}

/// A node whose object is gone: nothing is known of it, and it takes nobody. The row stays; placements point at it.
pub async fn vanished(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE worker_nodes SET availability = 'unknown' WHERE id = $1 AND availability <> 'unknown'",
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What an operator's change meets; the row is the caller's until the transaction ends.
#[derive(Clone, Debug)]
pub struct Admitting {
    pub name: String,
    pub admission: Admission,
    pub version: i64,
}

pub async fn lock(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Admitting>> {
    let row = sqlx::query!(
        "SELECT name, admission, version FROM worker_nodes WHERE id = $1 FOR NO KEY UPDATE",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Admitting {
        name: row.name,
        admission: Admission::parse(&row.admission),
        version: row.version,
    }))
}

/// What the operator wants of a node from now on.
pub async fn admit(conn: &mut PgConnection, id: Uuid, admission: Admission) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE worker_nodes SET admission = $2, version = version + 1 WHERE id = $1",
        id,
        admission.name()
    )
    .execute(conn)
    .await?;
    Ok(())
}
