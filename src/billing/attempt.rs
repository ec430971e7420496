//! SQL of calling a gateway: due payments are claimed with a lease, and what came out is written only by the holder.

use std::time::Duration;

use sqlx::PgConnection;

use super::TransactionStatus;
use super::gateway::Order;
use crate::clock::{Ambient, Time};

/// Longer than any call of a gateway may take.
const LEASE_SECONDS: i32 = 60;
const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// A payment whose gateway is to be called by us now.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub order: Order,
    pub gateway: String,
    pub attempts: i32,
    lease_token: i64,
}

/// Claims the payment that has waited longest.
pub async fn claim(conn: &mut PgConnection, now: Time) -> sqlx::Result<Option<Attempt>> {
    let row = sqlx::query!(
        "UPDATE transactions t
            SET lease_token = t.lease_token + 1, lease_until = lease_now() + make_interval(secs => $2::int4::float8),
                attempts = t.attempts + 1
           FROM billing b
          WHERE b.id = t.billing_id
            AND t.id = (SELECT id FROM transactions
                         WHERE next_attempt_at <= $1 AND (lease_until IS NULL OR lease_until < lease_now())
                         ORDER BY next_attempt_at, id
                           FOR UPDATE SKIP LOCKED
                         LIMIT 1)
         RETURNING t.id, t.gateway, t.gateway_ref, t.amount_idr, t.attempts, t.lease_token, b.description",
        now as _,
        LEASE_SECONDS
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Attempt {
        order: Order {
            transaction_id: row.id,
            reference: row.gateway_ref,
            amount_idr: row.amount_idr,
            description: row.description,
        },
        gateway: row.gateway,
        attempts: row.attempts,
        lease_token: row.lease_token,
    }))
}

/// The gateway has the payment, or refused it for good: nothing more to call. False when the lease went to another.
pub async fn told(
    conn: &mut PgConnection,
    ambient: &Ambient,
    attempt: &Attempt,
    status: TransactionStatus,
    url: Option<&str>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE transactions
            SET status = CASE WHEN status = ANY($4) THEN $3 ELSE status END, payment_url = coalesce($5, payment_url),
                next_attempt_at = NULL, lease_until = NULL, updated_at = $6
          WHERE id = $1 AND lease_token = $2",
        attempt.order.transaction_id,
        attempt.lease_token,
        status.name(),
        &TransactionStatus::before(status),
        url,
        ambient.now() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The gateway did not answer: again later, ever later.
pub async fn retry(conn: &mut PgConnection, ambient: &Ambient, attempt: &Attempt) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE transactions SET next_attempt_at = $3, lease_until = NULL
          WHERE id = $1 AND lease_token = $2 AND next_attempt_at IS NOT NULL",
        attempt.order.transaction_id,
        attempt.lease_token,
        ambient.now().plus(delay(attempt.attempts)) as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn delay(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or_default().min(16);
    (FIRST_DELAY * 2_u32.pow(doublings)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_ever_later_up_to_an_hour() {
        let delays: Vec<_> = [1, 2, 3, 9, 10, 1000].map(|n| delay(n).as_secs()).into();
        assert_eq!(delays, [10, 20, 40, 2560, 3600, 3600]);
    }
}
