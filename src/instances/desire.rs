//! Changes of desire: entitlement, start, stop, restart, delete, an operator's hold.
//!
//! Each locks the row, bumps its generation and makes it due, in the caller's transaction; after commit the caller rings
//! [`crate::db::signal::Channel::Work`]. Nothing here touches Kubernetes. The same request again gets the operation that
//! already runs; another one is refused as long as one runs; what the clock or an operator decides supersedes.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::phase::{Desire, Entitled, Wanted, effective};
use super::store::{self, Instance};
use super::{Error, admission};
use crate::clock::Ambient;
use crate::db;
use crate::events::Outbox;
use crate::operations::{self, Kind, Operation, Status, Subject};
use crate::scheduling::Scheduler;

/// Long enough for a large image on a slow line.
const DEADLINE: Duration = Duration::from_mins(30);

/// What becomes of the three wills; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    wanted: Option<Wanted>,
    entitled: Option<Entitled>,
    held: Option<bool>,
    restart: bool,
}

/// Writes a change: generation + 1, due now, earlier failures forgotten. Returns the new generation.
async fn apply(conn: &mut PgConnection, ambient: &Ambient, id: Uuid, change: Change) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "UPDATE service_instances
            SET wanted = COALESCE($3, wanted), entitled = COALESCE($4, entitled), held = COALESCE($5, held),
                restart_no = restart_no + $6::int4, generation = generation + 1, version = version + 1, updated_at = $2,
                next_reconcile_at = $2, attempts = 0, admin_retry_at = NULL
          WHERE id = $1
         RETURNING generation",
        id,
        ambient.now() as _,
        change.wanted.map(Wanted::name),
        change.entitled.map(Entitled::name),
        change.held,
        i32::from(change.restart)
    )
    .fetch_one(conn)
    .await
}

/// What the subscription decides. A repeat changes nothing; after a purge there is no way back. The operation that runs
/// is left alone unless `supersede` says that the clock decided.
pub async fn set_entitlement(
    conn: &mut PgConnection,
    ambient: &Ambient,
    outbox: &mut Outbox,
    id: Uuid,
    entitled: Entitled,
    supersede: bool,
) -> Result<i64, Error> {
    let instance = store::lock(conn, id).await?.ok_or(Error::NotFound)?;
    if instance.entitled == entitled {
        return Ok(instance.generation);
    }
    if instance.entitled == Entitled::Purge {
        return Err(Error::Purged);
    }
    if supersede {
        end_running(conn, ambient, outbox, &instance, "the subscription changed").await?;
    }
    let change = Change {
        entitled: Some(entitled),
        ..Change::default()
    };
    let generation = apply(conn, ambient, id, change).await?;
    if entitled == Entitled::Yes {
        // The quota is raised before anything is put under it.
        store::namespaces::bump(conn, ambient.now(), instance.namespace_id).await?;
    }
    Ok(generation)
}

/// Admitted by the engine first, when its reservation is gone or its node takes nobody. Takes the placement lock, so it
/// must be the first thing in its transaction.
pub async fn start(
    conn: &mut PgConnection,
    ambient: &Ambient,
    scheduler: &Scheduler,
    id: Uuid,
) -> Result<Operation, Error> {
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    let instance = alive(conn, id).await?;
    if let Some(same) = running(conn, &instance, Kind::Start).await? {
        return Ok(same);
    }
    if instance.entitled != Entitled::Yes {
        return Err(Error::NotEntitled);
    }
    if instance.held {
        return Err(Error::Held);
    }
    admission::readmit(conn, ambient, scheduler, &instance).await?;
    let change = Change {
        wanted: Some(Wanted::Running),
        ..Change::default()
    };
    begin(conn, ambient, &instance, Kind::Start, change).await
}

/// Stops the pod; data, address and reservation stay.
pub async fn stop(conn: &mut PgConnection, ambient: &Ambient, id: Uuid) -> Result<Operation, Error> {
    let instance = alive(conn, id).await?;
    if let Some(same) = running(conn, &instance, Kind::Stop).await? {
        return Ok(same);
    }
    let change = Change {
        wanted: Some(Wanted::Stopped),
        ..Change::default()
    };
    begin(conn, ambient, &instance, Kind::Stop, change).await
}

/// A new pod of the same specification.
pub async fn restart(conn: &mut PgConnection, ambient: &Ambient, id: Uuid) -> Result<Operation, Error> {
    let instance = alive(conn, id).await?;
    if let Some(same) = running(conn, &instance, Kind::Restart).await? {
        return Ok(same);
    }
    match (instance.entitled, instance.held, instance.wanted) {
        (Entitled::Yes, false, Wanted::Running) => {}
        (Entitled::Yes, true, _) => return Err(Error::Held),
        (Entitled::Yes, false, Wanted::Stopped) => return Err(Error::NotRunning),
        (Entitled::Suspended | Entitled::Purge, _, _) => return Err(Error::NotEntitled),
    }
    let change = Change {
        restart: true,
        ..Change::default()
    };
    begin(conn, ambient, &instance, Kind::Restart, change).await
}

/// Pod and data go for good, whatever runs: part of ending a subscription.
pub async fn delete(
    conn: &mut PgConnection,
    ambient: &Ambient,
    outbox: &mut Outbox,
    id: Uuid,
) -> Result<Operation, Error> {
    let instance = store::lock(conn, id).await?.ok_or(Error::NotFound)?;
    let present = operations::store::running(conn, Subject::Instance, id).await?;
    if let Some(same) = present.filter(|operation| operation.kind == Kind::Delete) {
        return Ok(same);
    }
    if instance.deleted_at.is_some() {
        return Err(Error::Purged);
    }
    end_running(conn, ambient, outbox, &instance, "the instance is being deleted").await?;
    let change = Change {
        entitled: Some(Entitled::Purge),
        ..Change::default()
    };
    begin(conn, ambient, &instance, Kind::Delete, change).await
}

/// An operator's pause. What runs on it is superseded.
pub async fn hold(conn: &mut PgConnection, ambient: &Ambient, outbox: &mut Outbox, id: Uuid) -> Result<(), Error> {
    let instance = alive(conn, id).await?;
    if instance.held {
        return Ok(());
    }
    end_running(conn, ambient, outbox, &instance, "the operator holds the instance").await?;
    let change = Change {
        held: Some(true),
        ..Change::default()
    };
    apply(conn, ambient, id, change).await?;
    Ok(())
}

/// Ends the pause; admitted first when it means running again. Takes the placement lock.
pub async fn release(conn: &mut PgConnection, ambient: &Ambient, scheduler: &Scheduler, id: Uuid) -> Result<(), Error> {
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    let instance = alive(conn, id).await?;
    if !instance.held {
        return Ok(());
    }
    if effective(instance.wanted, instance.entitled, false) == Desire::Run {
        admission::readmit(conn, ambient, scheduler, &instance).await?;
    }
    let change = Change {
        held: Some(false),
        ..Change::default()
    };
    apply(conn, ambient, id, change).await?;
    Ok(())
}

async fn alive(conn: &mut PgConnection, id: Uuid) -> Result<Instance, Error> {
    let instance = store::lock(conn, id).await?.ok_or(Error::NotFound)?;
    if instance.entitled == Entitled::Purge || instance.deleted_at.is_some() {
        return Err(Error::Purged);
    }
    Ok(instance)
}

/// The running operation when it is of this kind; an error when it is of another.
async fn running(conn: &mut PgConnection, instance: &Instance, kind: Kind) -> Result<Option<Operation>, Error> {
    match operations::store::running(conn, Subject::Instance, instance.id).await? {
        Some(operation) if operation.kind != kind => Err(Error::Busy(Box::new(operation))),
        same_or_none => Ok(same_or_none),
    }
}

async fn begin(
    conn: &mut PgConnection,
    ambient: &Ambient,
    instance: &Instance,
    kind: Kind,
    change: Change,
) -> Result<Operation, Error> {
    let generation = apply(conn, ambient, instance.id, change).await?;
    let new = operations::store::New {
        user_id: Some(instance.user_id),
        kind,
        subject: Subject::Instance,
        subject_id: instance.id,
        generation,
        deadline: DEADLINE,
    };
    Ok(operations::store::start(conn, ambient, new).await?)
}

async fn end_running(
    conn: &mut PgConnection,
    ambient: &Ambient,
    outbox: &mut Outbox,
    instance: &Instance,
    why: &str,
) -> sqlx::Result<()> {
    let Some(operation) = operations::store::running(conn, Subject::Instance, instance.id).await? else {
        return Ok(());
    };
    finish_operation(
        conn,
        ambient,
        outbox,
        instance.user_id,
        &operation,
        (Status::Superseded, "superseded", why),
    )
    .await
}

/// Ends an operation and says so in the owner's stream.
pub(super) async fn finish_operation(
    conn: &mut PgConnection,
    ambient: &Ambient,
    outbox: &mut Outbox,
    user_id: Uuid,
    operation: &Operation,
    (status, reason, message): (Status, &str, &str),
) -> sqlx::Result<()> {
    let subject = (operation.subject, operation.subject_id);
    let ended = operations::store::finish(conn, ambient, subject, i64::MAX, status, reason, message).await?;
    if let Some(id) = ended {
        outbox.push(
            user_id,
            "operation.finished",
            json!({
                "operation_id": id, "kind": operation.kind, "subject": operation.subject,
                "subject_id": operation.subject_id, "status": status, "reason": reason,
            }),
        );
    }
    Ok(())
}
