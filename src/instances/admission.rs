//! May it run, and where: asks the engine before a stopped instance is started again.

use sqlx::PgConnection;

use super::Error;
use super::phase::Phase;
use super::store::Instance;
use crate::clock::Ambient;
use crate::scheduling::{self, Cause, Demand, Scheduler, State};

/// Keeps the reservation that is there, if its node still takes pods; otherwise decides and assigns anew. The caller
/// holds the placement lock. Only for instances without a pod, or the pod would be in two places.
pub async fn readmit(
    conn: &mut PgConnection,
    ambient: &Ambient,
    scheduler: &Scheduler,
    instance: &Instance,
) -> Result<(), Error> {
    let placed = scheduling::current(conn, instance.id).await?;
    if let Some(placed) = placed
        && placed.state == State::Firm
        // With a pod there already, a bad node is relocation's business, not a customer's click's.
        && (instance.phase != Phase::Stopped || takes_pods(conn, placed.node_id).await?)
    {
        return Ok(());
    }
    let demand = demand(scheduler, instance);
    let decision = match scheduling::decide(conn, scheduler, &demand).await {
        Ok(decision) => decision,
        Err(scheduling::Error::Refused(refusal)) => return Err(Error::Refused(refusal)),
        Err(scheduling::Error::Inconsistent(what)) => return Err(Error::Inconsistent(what)),
        Err(scheduling::Error::Sql(error)) => return Err(Error::Sql(error)),
    };
    scheduling::assign(conn, ambient, &demand, &decision, State::Firm, Cause::Start).await?;
    // What is written now may be more than the quota was made for.
    super::store::namespaces::bump(conn, ambient.now(), instance.namespace_id).await?;
    Ok(())
}

/// What an instance asks of a node.
pub fn demand(scheduler: &Scheduler, instance: &Instance) -> Demand {
    let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let disk_mib = signed(instance.plan.disk_mib);
    Demand {
        instance_id: instance.id,
        cpu_request_milli: signed(instance.plan.cpu_request_milli),
        cpu_limit_milli: signed(instance.plan.cpu_limit_milli),
        mem_request_mib: signed(instance.plan.mem_request_mib),
        mem_limit_mib: signed(instance.plan.mem_limit_mib),
        disk_mib,
        volume_node: instance.volume_node_id,
        movable: scheduler.follows(disk_mib),
    }
}

async fn takes_pods(conn: &mut PgConnection, node_id: uuid::Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM worker_nodes
                           WHERE id = $1 AND availability <> 'offline' AND admission IN ('open', 'standby')) AS "ok!""#,
        node_id
    )
    .fetch_one(conn)
    .await
}
