//! Subscriptions as they are shown, one or a page of them.

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{CancelReason, Period, State, Status};
use crate::clock::Time;
use crate::http::page::Window;

/// What was bought, and how it stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionView {
    pub id: Uuid,
    pub user_id: Uuid,
    /// The service's slug and name.
    pub service: String,
    pub service_name: String,
    /// The plan's code and name.
    pub plan: String,
    pub plan_name: String,
    /// Whole rupiah a period.
    #[schema(minimum = 0)]
    pub price_idr: i64,
    pub instance_id: Uuid,
    pub host: String,
    pub status: Status,
    /// It ends when the running period does.
    pub cancel_at_period_end: bool,
    /// The running period, counted from 1; 0 before the first has begun.
    pub period_no: i32,
    /// Null until the service is seen ready: a period begins then.
    pub period_start: Option<Time>,
    pub period_end: Option<Time>,
    /// The period after the running one is paid already.
    pub next_period_paid: bool,
    /// The period that a renewal may name now; null when none can be bought.
    pub renewable_period: Option<i32>,
    /// Until when room is held for an order or a renewal that is not paid yet.
    pub hold_expires_at: Option<Time>,
    /// By when a paid order must have become ready, or it is credited.
    pub ready_deadline: Option<Time>,
    /// Renewed after expiry: its period begins with the restart.
    pub awaiting_restart: bool,
    pub expired_at: Option<Time>,
    /// Until when the data of an expired subscription is kept.
    pub grace_until: Option<Time>,
    pub cancelled_at: Option<Time>,
    pub cancel_reason: Option<CancelReason>,
    pub created_at: Time,
    pub updated_at: Time,
    #[serde(skip)]
    pub version: i64,
}

struct Row {
    id: Uuid,
    user_id: Uuid,
    service: String,
    service_name: String,
    plan: String,
    plan_name: String,
    price_idr: i64,
    instance_id: Uuid,
    host: String,
    status: String,
    cancel_at_period_end: bool,
    period_no: i32,
    period_start: Option<Time>,
    period_end: Option<Time>,
    next_period_paid: bool,
    hold_expires_at: Option<Time>,
    ready_deadline: Option<Time>,
    awaiting_restart: bool,
    expired_at: Option<Time>,
    grace_until: Option<Time>,
    cancelled_at: Option<Time>,
    cancel_reason: Option<String>,
    created_at: Time,
    updated_at: Time,
    version: i64,
}

impl TryFrom<Row> for SubscriptionView {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = || sqlx::Error::Decode("unknown status of a subscription".into());
        let status = Status::parse(&row.status).ok_or_else(unknown)?;
        let cancel_reason = row.cancel_reason.as_deref().and_then(CancelReason::parse);
        let state = State {
            status,
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
            cancelled: row.cancelled_at.zip(cancel_reason),
        };
        Ok(Self {
            renewable_period: state.renewable().filter(|_| !row.next_period_paid),
            id: row.id,
            user_id: row.user_id,
            service: row.service,
            service_name: row.service_name,
            plan: row.plan,
            plan_name: row.plan_name,
            price_idr: row.price_idr,
            instance_id: row.instance_id,
            host: row.host,
            status,
            cancel_at_period_end: row.cancel_at_period_end,
            period_no: row.period_no,
            period_start: row.period_start,
            period_end: row.period_end,
            // Period 1 of an order that has not begun is what was ordered, not a renewal.
            next_period_paid: row.next_period_paid && row.period_no > 0,
            hold_expires_at: row.hold_expires_at,
            ready_deadline: row.ready_deadline,
            awaiting_restart: row.awaiting_restart,
            expired_at: row.expired_at,
            grace_until: row.grace_until.filter(|_| status == Status::Expired),
            cancelled_at: row.cancelled_at,
            cancel_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<SubscriptionView>> {
    let rows = load(conn, &[id]).await?;
    Ok(rows.into_iter().next())
}

/// Newest first; of one account or of all, in one status or in any.
pub async fn page(
    conn: &mut PgConnection,
    user_id: Option<Uuid>,
    status: Option<Status>,
    window: &Window,
) -> sqlx::Result<Vec<SubscriptionView>> {
    let (before_at, before_id) = window.bound();
    let ids = sqlx::query_scalar!(
        "SELECT id FROM subscriptions
          WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::text IS NULL OR status = $2)
            AND (created_at, id) < ($3, $4)
          ORDER BY created_at DESC, id DESC
          LIMIT $5",
        user_id,
        status.map(Status::name),
        before_at as _,
        before_id,
        window.fetch()
    )
    .fetch_all(&mut *conn)
    .await?;
    load(conn, &ids).await
}

async fn load(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<SubscriptionView>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT s.id, s.user_id, c.slug AS service, c.name AS service_name, p.code AS plan, p.name AS plan_name,
                  p.price_idr, i.id AS instance_id, i.host, s.status, s.cancel_at_period_end, s.period_no,
                  s.period_start, s.period_end, s.hold_expires_at, s.ready_deadline, s.awaiting_restart, s.expired_at,
                  s.grace_until, s.cancelled_at, s.cancel_reason, s.created_at, s.updated_at, s.version,
                  EXISTS (SELECT FROM billing b
                           WHERE b.subscription_id = s.id AND b.period_no = s.period_no + 1
                             AND b.status = 'paid') AS "next_period_paid!"
             FROM subscriptions s
             JOIN services_catalog c ON c.id = s.service_id
             JOIN service_plans p ON p.id = s.plan_id
             JOIN service_instances i ON i.subscription_id = s.id
            WHERE s.id = ANY($1)
            ORDER BY s.created_at DESC, s.id DESC"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}
