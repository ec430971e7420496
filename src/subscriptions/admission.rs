//! Asks the engine before money moves, and says no in words that a customer can use.
//!
//! The caller holds the placement lock. Node names stay inside: they mean nothing to a customer.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::clock::Ambient;
use crate::instances::{self, Entitled};
use crate::scheduling::{self, Cause, Demand, Scheduler, State};

/// Reserves room for a demand, in `state`.
pub async fn admit(
    conn: &mut PgConnection,
    ambient: &Ambient,
    scheduler: &Scheduler,
    demand: &Demand,
    state: State,
    cause: Cause,
) -> Result<(), Error> {
    let decision = decide(conn, scheduler, demand).await?;
    scheduling::assign(conn, ambient, demand, &decision, state, cause).await?;
    Ok(())
}

pub async fn decide(
    conn: &mut PgConnection,
    scheduler: &Scheduler,
    demand: &Demand,
) -> Result<scheduling::Decision, Error> {
    scheduling::decide(conn, scheduler, demand)
        .await
        .map_err(|error| match error {
            scheduling::Error::Refused(refusal) => {
                tracing::info!(reason = %refusal, "no room for a demand");
                Error::NoCapacity(explain(refusal.binding))
            }
            scheduling::Error::Inconsistent(what) => Error::Inconsistent(what),
            scheduling::Error::Sql(error) => Error::Sql(error),
        })
}

/// For a renewal in grace: room again for an expired instance, in `state`. What it still holds, it keeps: expiry may
/// not have been carried out yet, and an instance with a pod is never placed a second time.
pub async fn readmit(
    conn: &mut PgConnection,
    ambient: &Ambient,
    scheduler: &Scheduler,
    instance_id: Uuid,
    state: State,
) -> Result<(), Error> {
    let instance = instances::store::lock(conn, instance_id)
        .await?
        .ok_or(Error::NotFound)?;
    if instance.entitled == Entitled::Purge || instance.deleted_at.is_some() {
        return Err(Error::Instance(instances::Error::Purged));
    }
    let placed = scheduling::current(conn, instance_id).await?;
    if placed.is_some_and(|placed| matches!(placed.state, State::Hold | State::Firm)) {
        return Ok(());
    }
    let demand = instances::admission::demand(scheduler, &instance);
    admit(conn, ambient, scheduler, &demand, state, Cause::Renew).await
}

fn explain(binding: placement::Reason) -> &'static str {
    use placement::Reason;
    match binding {
        Reason::Cpu
        | Reason::Memory
        | Reason::Disk
        | Reason::Pods
        | Reason::Hot
        | Reason::UsageCpu
        | Reason::UsageMemory => {
            "All our machines are full for this plan at the moment. A smaller plan may still fit. Nothing was charged."
        }
        Reason::Reserve | Reason::NPlusOne => {
            "What room is left is kept free, so that running services survive the loss of a machine. A smaller plan may \
             still fit. Nothing was charged."
        }
        Reason::VolumeElsewhere => {
            "The machine that keeps this service's data has no room for it at the moment. Your data is safe; please try \
             again later. Nothing was charged."
        }
        Reason::NoNodes
        | Reason::Removed
        | Reason::StorageClass
        | Reason::Selector
        | Reason::Taint
        | Reason::Spread
        | Reason::NotReady
        | Reason::Standby
        | Reason::Cordoned
        | Reason::Draining => {
            "No machine can take this service at the moment. Please try again later. Nothing was charged."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_customers_words() {
        for reason in placement::Reason::ALL {
            let text = explain(reason);
            assert!(text.ends_with("Nothing was charged."), "{reason}");
            for word in ["node", "cordon", "taint", "pod", "CPU", "drain"] {
                assert!(!text.contains(word), "{reason}: {word}");
            }
        }
    }
}
