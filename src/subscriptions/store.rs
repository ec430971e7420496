//! SQL of subscriptions. Whoever decides holds the row ([`lock`]); every change is a compare-and-swap on its version.

use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{CancelReason, Period, Seen, State, Status};
use crate::clock::{Ambient, Time};

/// A subscription as the machine and its effects need it.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: Uuid,
    pub user_id: Uuid,
    pub plan_id: Uuid,
    pub instance_id: Uuid,
    pub state: State,
    pub seen: Seen,
    pub version: i64,
}

struct Row {
    id: Uuid,
    user_id: Uuid,
    plan_id: Uuid,
    instance_id: Uuid,
    status: String,
    cancel_at_period_end: bool,
    hold_expires_at: Option<Time>,
    ready_deadline: Option<Time>,
    period_no: i32,
    period_start: Option<Time>,
    period_end: Option<Time>,
    awaiting_restart: bool,
    grace_until: Option<Time>,
    expired_at: Option<Time>,
    cancelled_at: Option<Time>,
    cancel_reason: Option<String>,
    version: i64,
    next_paid: bool,
    first_ready_at: Option<Time>,
    restarted_at: Option<Time>,
}

impl TryFrom<Row> for Subscription {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = || sqlx::Error::Decode("unknown status or reason of a subscription".into());
        let reason = |name: &str| CancelReason::parse(name).ok_or_else(unknown);
        let reason = row.cancel_reason.as_deref().map(reason).transpose()?;
        let state = State {
            status: Status::parse(&row.status).ok_or_else(unknown)?,
            cancel_at_period_end: row.cancel_at_period_end,
            hold_expires_at: row.hold_expires_at,
            ready_deadline: row.ready_deadline,
            period_no: row.period_no,
            period: row
                .period_start
                .zip(row.period_end)
                .map(|(start, end)| Period { start, end }),
            awaiting_restart: row.awaiting_restart,
            grace_until: row.grace_until,
            expired_at: row.expired_at,
            cancelled: row.cancelled_at.zip(reason),
        };
        let seen = Seen {
            next_paid: row.next_paid,
            first_ready_at: row.first_ready_at,
            restarted_at: row.restarted_at,
        };
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            plan_id: row.plan_id,
            instance_id: row.instance_id,
            state,
            seen,
            version: row.version,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    pub user_id: Uuid,
    pub service_id: Uuid,
    pub plan_id: Uuid,
    pub state: &'a State,
}

pub async fn insert(conn: &mut PgConnection, ambient: &Ambient, new: New<'_>) -> sqlx::Result<Uuid> {
    let id = ambient.new_id();
    sqlx::query!(
        "INSERT INTO subscriptions (id, user_id, service_id, plan_id, status, hold_expires_at, next_transition_at,
                                    created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        id,
        new.user_id,
        new.service_id,
        new.plan_id,
        new.state.status.name(),
        new.state.hold_expires_at as Option<Time>,
        new.state.next_transition_at() as Option<Time>,
        ambient.now() as _
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// The row, locked until the transaction ends, and what the rest of the database says about it at this moment.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Subscription>> {
    // A statement of its own: the next one then sees what was committed while this one waited.
    sqlx::query!("SELECT id FROM subscriptions WHERE id = $1 FOR UPDATE", id)
        .fetch_optional(&mut *conn)
        .await?;
    get(conn, id).await
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Subscription>> {
    // Renewed in grace, the period begins with the restart that is seen after the payment. A service that its customer
    // keeps stopped is never seen to restart: what is paid for is then its reservation, from the payment on.
    let row = sqlx::query_as!(
        Row,
        r#"SELECT s.id, s.user_id, s.plan_id, i.id AS instance_id, s.status, s.cancel_at_period_end, s.hold_expires_at,
                  s.ready_deadline, s.period_no, s.period_start, s.period_end, s.awaiting_restart, s.grace_until,
                  s.expired_at, s.cancelled_at, s.cancel_reason, s.version, i.first_ready_at,
                  EXISTS (SELECT FROM billing b
                           WHERE b.subscription_id = s.id AND b.period_no = s.period_no + 1
                             AND b.status = 'paid') AS "next_paid!",
                  CASE WHEN i.last_ready_at >= renewal.paid_at THEN i.last_ready_at
                       WHEN i.wanted = 'stopped' THEN renewal.paid_at END AS restarted_at
             FROM subscriptions s
             JOIN service_instances i ON i.subscription_id = s.id
             LEFT JOIN billing renewal
                    ON s.awaiting_restart AND renewal.subscription_id = s.id AND renewal.period_no = s.period_no
                   AND renewal.status = 'paid'
            WHERE s.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes the next state. False when another was faster, which the row's lock should have made impossible.
pub async fn save(
    conn: &mut PgConnection,
    ambient: &Ambient,
    before: &Subscription,
    state: &State,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE subscriptions
            SET status = $3, cancel_at_period_end = $4, hold_expires_at = $5, ready_deadline = $6, period_no = $7,
                period_start = $8, period_end = $9, awaiting_restart = $10, grace_until = $11, expired_at = $12,
                cancelled_at = $13, cancel_reason = $14, next_transition_at = $15, updated_at = $16,
                version = version + 1
          WHERE id = $1 AND version = $2",
        before.id,
        before.version,
        state.status.name(),
        state.cancel_at_period_end,
        state.hold_expires_at as Option<Time>,
        state.ready_deadline as Option<Time>,
        state.period_no,
        state.period.map(|period| period.start) as Option<Time>,
        state.period.map(|period| period.end) as Option<Time>,
        state.awaiting_restart,
        state.grace_until as Option<Time>,
        state.expired_at as Option<Time>,
        state.cancelled.map(|(at, _)| at) as Option<Time>,
        state.cancelled.map(|(_, reason)| reason.name()),
        state.next_transition_at() as Option<Time>,
        ambient.now() as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the subscription that is longest overdue and that nobody else works on; `except` are those that failed.
pub async fn claim_due(conn: &mut PgConnection, now: Time, except: &[Uuid]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM subscriptions
          WHERE next_transition_at <= $1 AND id <> ALL($2)
          ORDER BY next_transition_at, id
            FOR UPDATE SKIP LOCKED
          LIMIT 1",
        now as _,
        except
    )
    .fetch_optional(conn)
    .await
}

/// Locks a paid subscription whose service was seen ready and whose period has not begun.
pub async fn claim_ready(conn: &mut PgConnection, except: &[Uuid]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "SELECT s.id
           FROM subscriptions s
           JOIN service_instances i ON i.subscription_id = s.id
           LEFT JOIN billing renewal
                  ON s.awaiting_restart AND renewal.subscription_id = s.id AND renewal.period_no = s.period_no
                 AND renewal.status = 'paid'
          WHERE s.status = 'active' AND s.period_start IS NULL AND s.id <> ALL($1)
            AND CASE WHEN s.awaiting_restart THEN i.last_ready_at >= renewal.paid_at OR i.wanted = 'stopped'
                     ELSE i.first_ready_at IS NOT NULL END
          ORDER BY s.id
            FOR UPDATE OF s SKIP LOCKED
          LIMIT 1",
        except
    )
    .fetch_optional(conn)
    .await
}

/// How many subscriptions are in each status.
pub async fn count_by_status(conn: &mut PgConnection) -> sqlx::Result<Vec<(Status, i64)>> {
    let rows = sqlx::query!(r#"SELECT status, count(*) AS "count!" FROM subscriptions GROUP BY status"#)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((Status::parse(&row.status)?, row.count)))
        .collect())
}

/// The customer's handle: the first label of every host name.
pub async fn handle_of(conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<String> {
    sqlx::query_scalar!("SELECT handle FROM users WHERE id = $1", user_id)
        .fetch_one(conn)
        .await
}
