//! Stand-in with the agreed signatures until the scheduling branch lands; takes the first node that is open and ready.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Ambient;

#[derive(Clone, Debug)]
pub struct Scheduler {
    pub policy: placement::Policy,
    pub policy_version: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub instance_id: Uuid,
    pub cpu_request_milli: i32,
    pub cpu_limit_milli: i32,
    pub mem_request_mib: i32,
    pub mem_limit_mib: i32,
    pub disk_mib: i32,
    pub volume_node: Option<Uuid>,
}

#[derive(Clone, Debug)]
pub struct Decision {
    pub node_id: Uuid,
    pub node_name: String,
    pub request: placement::Resources,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(placement::Refusal),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Hold,
    Firm,
    Parked,
}

#[derive(Clone, Copy, Debug)]
pub enum Cause {
    Order,
    Start,
}

#[derive(Clone, Debug)]
pub struct Placed {
    pub node_id: Uuid,
    pub node_name: String,
    pub state: State,
    pub cpu_request_milli: i32,
    pub mem_request_mib: i32,
    pub disk_mib: i32,
}

pub async fn decide(conn: &mut PgConnection, _: &Scheduler, demand: &Demand) -> Result<Decision, Error> {
    let row: (Uuid, String) = sqlx::query_as("SELECT id, name FROM worker_nodes WHERE admission = 'open' AND ($1::uuid IS NULL OR id = $1) ORDER BY name LIMIT 1")
        .bind(demand.volume_node)
        .fetch_one(conn)
        .await?;
    let request = placement::Resources {
        cpu_milli: demand.cpu_request_milli.into(),
        mem_mib: demand.mem_request_mib.into(),
        disk_mib: demand.disk_mib.into(),
        pods: 1,
    };
    Ok(Decision {
        node_id: row.0,
        node_name: row.1,
        request,
    })
}

pub async fn assign(
    conn: &mut PgConnection,
    ambient: &Ambient,
    scheduler: &Scheduler,
    demand: &Demand,
    decision: &Decision,
    state: State,
    _: Cause,
) -> sqlx::Result<()> {
    release(conn, ambient, demand.instance_id).await?;
    sqlx::query("INSERT INTO placements (id, instance_id, node_id, state, cause, cpu_request_milli, mem_request_mib, disk_mib, policy_version, created_at) VALUES ($1,$2,$3,$4,'order',$5,$6,$7,$8,$9)")
        .bind(ambient.new_id()).bind(demand.instance_id).bind(decision.node_id)
        .bind(if state == State::Hold { "hold" } else { "firm" })
        .bind(demand.cpu_request_milli).bind(demand.mem_request_mib).bind(demand.disk_mib).bind(scheduler.policy_version).bind(ambient.now())
        .execute(conn).await?;
    Ok(())
}

pub async fn park(conn: &mut PgConnection, _: &Ambient, instance_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE placements SET state='parked', cpu_request_milli=0, mem_request_mib=0 WHERE instance_id=$1 AND released_at IS NULL").bind(instance_id).execute(conn).await?;
    Ok(())
}

pub async fn release(conn: &mut PgConnection, ambient: &Ambient, instance_id: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE placements SET released_at=$2 WHERE instance_id=$1 AND released_at IS NULL")
        .bind(instance_id)
        .bind(ambient.now())
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn current(conn: &mut PgConnection, instance_id: Uuid) -> sqlx::Result<Option<Placed>> {
    let row: Option<(Uuid, String, String, i32, i32, i32)> = sqlx::query_as("SELECT p.node_id, n.name, p.state, p.cpu_request_milli, p.mem_request_mib, p.disk_mib FROM placements p JOIN worker_nodes n ON n.id=p.node_id WHERE instance_id=$1 AND released_at IS NULL").bind(instance_id).fetch_optional(conn).await?;
    Ok(row.map(
        |(node_id, node_name, state, cpu_request_milli, mem_request_mib, disk_mib)| Placed {
            node_id,
            node_name,
            cpu_request_milli,
            mem_request_mib,
            disk_mib,
            state: match state.as_str() {
                "hold" => State::Hold,
                "firm" => State::Firm,
                _ => State::Parked,
            },
        },
    ))
}
