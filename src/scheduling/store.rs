//! SQL of placements: the ledger. One open row per instance; closed rows are its history.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Cause, Decision, Demand, State};
use crate::clock::Ambient;

/// An open placement.
#[derive(Clone, Debug)]
pub struct Placed {
    pub node_id: Uuid,
    pub node_name: String,
    pub state: State,
    pub cpu_request_milli: i32,
    pub mem_request_mib: i32,
    pub disk_mib: i32,
}

pub async fn current(conn: &mut PgConnection, instance_id: Uuid) -> sqlx::Result<Option<Placed>> {
    let row = sqlx::query!(
        "SELECT p.node_id, n.name, p.state, p.cpu_request_milli, p.mem_request_mib, p.disk_mib
           FROM placements p JOIN worker_nodes n ON n.id = p.node_id
          WHERE p.instance_id = $1 AND p.released_at IS NULL",
        instance_id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state = State::parse(&row.state).ok_or_else(|| sqlx::Error::Decode("unknown state of a placement".into()))?;
    Ok(Some(Placed {
        node_id: row.node_id,
        node_name: row.name,
        state,
        cpu_request_milli: row.cpu_request_milli,
        mem_request_mib: row.mem_request_mib,
        disk_mib: row.disk_mib,
    }))
}

/// Writes what was decided, closing the instance's open placement. In the transaction and under the lock of `decide`.
pub async fn assign(
    conn: &mut PgConnection,
    ambient: &Ambient,
    demand: &Demand,
    decision: &Decision,
    state: State,
    cause: Cause,
) -> sqlx::Result<()> {
    release(conn, ambient, demand.instance_id).await?;
    let amount = |value: i64| i32::try_from(value).map_err(|error| sqlx::Error::Encode(error.into()));
    let (cpu, mem) = (amount(decision.request.cpu_milli)?, amount(decision.request.mem_mib)?);
    let new = Row {
        instance_id: demand.instance_id,
        node_id: decision.node_id,
        backup: decision.backup,
        cpu,
        mem,
        disk: demand.disk_mib,
        limits: (demand.cpu_limit_milli, demand.mem_limit_mib),
        movable: demand.movable,
        policy_version: decision.policy_version,
    };
    insert(conn, ambient, new, state, cause).await
}

struct Row {
    instance_id: Uuid,
    node_id: Uuid,
    backup: Option<Uuid>,
    cpu: i32,
    mem: i32,
    disk: i32,
    /// CPU and memory.
    limits: (i32, i32),
    movable: bool,
    policy_version: i32,
}

async fn insert(conn: &mut PgConnection, ambient: &Ambient, row: Row, state: State, cause: Cause) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO placements (id, instance_id, node_id, backup_node_id, state, cause, cpu_request_milli,
                                 mem_request_mib, disk_mib, cpu_limit_milli, mem_limit_mib, movable, policy_version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        ambient.new_id(),
        row.instance_id,
        row.node_id,
        row.backup,
        state.name(),
        cause.name(),
        row.cpu,
        row.mem,
        row.disk,
        row.limits.0,
        row.limits.1,
        row.movable,
        row.policy_version,
        ambient.now() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Paid: the hold becomes firm. Anything else is left as it is.
pub async fn firm(conn: &mut PgConnection, instance_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE placements SET state = 'firm' WHERE instance_id = $1 AND released_at IS NULL AND state = 'hold'",
        instance_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Another certificate for what stays where it is, or none. False: there is nothing that runs. The caller holds the
/// placement lock.
pub async fn certify(conn: &mut PgConnection, instance_id: Uuid, backup: Option<Uuid>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE placements SET backup_node_id = $2
          WHERE instance_id = $1 AND released_at IS NULL AND state <> 'parked'",
        instance_id,
        backup
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives CPU and memory back and keeps disk and place. Call it only after the pod was seen to be gone: until then
/// Kubernetes still counts it. Parking twice changes nothing. Whether a hold is to be
/// parked (a renewal was not paid) or kept (it waits for its payment) is the caller's to know.
pub async fn park(conn: &mut PgConnection, ambient: &Ambient, instance_id: Uuid) -> sqlx::Result<()> {
    let closed = sqlx::query!(
        "UPDATE placements SET released_at = $2
          WHERE instance_id = $1 AND released_at IS NULL AND state <> 'parked'
         RETURNING node_id, disk_mib, movable, policy_version",
        instance_id,
        ambient.now() as _
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(closed) = closed else { return Ok(()) };
    let row = Row {
        instance_id,
        node_id: closed.node_id,
        // What does not run needs nobody to take it over.
        backup: None,
        cpu: 0,
        mem: 0,
        disk: closed.disk_mib,
        limits: (0, 0),
        movable: closed.movable,
        policy_version: closed.policy_version,
    };
    insert(conn, ambient, row, State::Parked, Cause::Expire).await
}

/// Closes the open placement: nothing of the instance is left on the node.
pub async fn release(conn: &mut PgConnection, ambient: &Ambient, instance_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE placements SET released_at = $2 WHERE instance_id = $1 AND released_at IS NULL",
        instance_id,
        ambient.now() as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
