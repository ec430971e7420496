//! SQL of the customers' namespaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Instance;
use crate::catalog::template::Template;
use crate::clock::{Ambient, Time};
use crate::scheduling::Placed;

/// What one instance takes of its namespace's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    pub cpu_request_milli: i32,
    pub cpu_limit_milli: i32,
    pub mem_request_mib: i32,
    pub mem_limit_mib: i32,
    pub disk_mib: i32,
    pub volumes: i32,
}

impl Footprint {
    /// What the written request, the plan and the template's volumes come to.
    pub fn of(instance: &Instance, placed: &Placed, template: &Template) -> Self {
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        Self {
            cpu_request_milli: placed.cpu_request_milli,
            cpu_limit_milli: signed(instance.plan.cpu_limit_milli),
            mem_request_mib: placed.mem_request_mib,
            mem_limit_mib: signed(instance.plan.mem_limit_mib),
            disk_mib: signed(instance.plan.disk_mib),
            volumes: i32::try_from(template.volumes.len()).unwrap_or(i32::MAX),
        }
    }

    /// The larger of both in every respect.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            cpu_request_milli: self.cpu_request_milli.max(other.cpu_request_milli),
            cpu_limit_milli: self.cpu_limit_milli.max(other.cpu_limit_milli),
            mem_request_mib: self.mem_request_mib.max(other.mem_request_mib),
            mem_limit_mib: self.mem_limit_mib.max(other.mem_limit_mib),
            disk_mib: self.disk_mib.max(other.disk_mib),
            volumes: self.volumes.max(other.volumes),
        }
    }

    /// A quota that was made for `self` has room for `other`.
    pub fn covers(self, other: Self) -> bool {
        self.max(other) == self
    }
}

/// The quota that was last applied, as what it consists of.
pub type Applied = BTreeMap<Uuid, Footprint>;

/// The row of this customer in the default region, made when missing; its generation rises, so that its quota is raised
/// before anything new is put into it. `None` when there is no region.
pub async fn ensure(
    conn: &mut PgConnection,
    ambient: &Ambient,
    user_id: Uuid,
    handle: &str,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "INSERT INTO customer_namespaces AS n (id, user_id, region_id, name, next_reconcile_at, created_at, updated_at)
         SELECT $1, $2, r.id, $3, NULL, $4, $4 FROM (SELECT id FROM regions ORDER BY created_at, id LIMIT 1) r
         ON CONFLICT (user_id, region_id) DO UPDATE SET generation = n.generation + 1, updated_at = EXCLUDED.updated_at
         RETURNING id",
        ambient.new_id(),
        user_id,
        format!("lumbung-{handle}"),
        ambient.now() as _
    )
    .fetch_optional(conn)
    .await
}

/// Something changed that the quota depends on.
pub async fn bump(conn: &mut PgConnection, now: Time, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE customer_namespaces
            SET generation = generation + 1, next_reconcile_at = $2, attempts = 0, updated_at = $2
          WHERE id = $1",
        id,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A namespace that is due, claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    /// None until it was made.
    pub uid: Option<String>,
    pub generation: i64,
    pub attempts: i32,
    pub applied: Applied,
    pub lease_token: i64,
}

pub async fn claim(conn: &mut PgConnection, now: Time, lease_seconds: i32, limit: i64) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"UPDATE customer_namespaces
              SET lease_token = lease_token + 1, lease_until = lease_now() + make_interval(secs => $2::int4::float8)
            WHERE id IN (SELECT id FROM customer_namespaces
                          WHERE next_reconcile_at <= $1 AND (lease_until IS NULL OR lease_until < lease_now())
                          ORDER BY next_reconcile_at
                            FOR UPDATE SKIP LOCKED
                          LIMIT $3)
           RETURNING id, user_id, name, uid, generation, attempts, lease_token,
                     applied_quota AS "applied_quota: sqlx::types::Json<Applied>""#,
        now as _,
        lease_seconds,
        limit
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        id: row.id,
        user_id: row.user_id,
        name: row.name,
        uid: row.uid,
        generation: row.generation,
        attempts: row.attempts,
        applied: row.applied_quota.map(|json| json.0).unwrap_or_default(),
        lease_token: row.lease_token,
    });
    Ok(claimed.collect())
}

/// Keeps the lease for another while; false when it is not ours any more.
pub async fn renew(conn: &mut PgConnection, claimed: &Claimed, lease_seconds: i32) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE customer_namespaces SET lease_until = lease_now() + make_interval(secs => $3::int4::float8)
          WHERE id = $1 AND lease_token = $2 AND lease_until > lease_now()",
        claimed.id,
        claimed.lease_token,
        lease_seconds
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The instances of a namespace that may have something in the cluster.
pub async fn members(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM service_instances
          WHERE namespace_id = $1 AND deleted_at IS NULL AND (observed_generation > 0 OR entitled = 'yes')
          ORDER BY id",
        id
    )
    .fetch_all(conn)
    .await
}

/// The quota that was last applied to a namespace; empty before the first time.
pub async fn applied(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Applied> {
    let row = sqlx::query_scalar!(
        r#"SELECT applied_quota AS "applied_quota: sqlx::types::Json<Applied>" FROM customer_namespaces WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.flatten().map(|json| json.0).unwrap_or_default())
}

/// Records what was applied. False when the lease was lost: another replica has it now, and its word counts.
pub async fn finish(
    conn: &mut PgConnection,
    now: Time,
    claimed: &Claimed,
    uid: Option<&str>,
    applied: &Applied,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE customer_namespaces
            SET uid = COALESCE($3, uid), applied_quota = $4, observed_generation = $5, attempts = 0, message = NULL, updated_at = $6,
                next_reconcile_at = CASE WHEN generation = $5 THEN NULL ELSE $6::timestamptz END, lease_until = NULL
          WHERE id = $1 AND lease_token = $2",
        claimed.id,
        claimed.lease_token,
        uid,
        sqlx::types::Json(applied) as _,
        claimed.generation,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records why it could not be applied and when it is tried again.
pub async fn postpone(
    conn: &mut PgConnection,
    now: Time,
    claimed: &Claimed,
    message: &str,
    retry_at: Time,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE customer_namespaces
            SET attempts = attempts + 1, message = $3, updated_at = $5, lease_until = NULL,
                next_reconcile_at = CASE WHEN generation = $6 THEN $4::timestamptz ELSE $5 END
          WHERE id = $1 AND lease_token = $2",
        claimed.id,
        claimed.lease_token,
        message,
        retry_at as _,
        now as _,
        claimed.generation
    )
    .execute(conn)
    .await?;
    Ok(())
}
