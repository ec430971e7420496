//! Named leases: what must be done by one replica at a time asks here first.
//!
//! A lease is a row on the database's clock. Its token rises when the holder changes, so work that carries a token can
//! be refused after its holder was paused past the lease.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

/// Long enough for a run, short enough that a dead holder is replaced soon.
pub const LEASE: Duration = Duration::from_secs(15);

/// Takes or renews the lease; `None` when another holder's is still valid.
pub async fn hold(conn: &mut PgConnection, name: &str, holder: &str) -> sqlx::Result<Option<i64>> {
    let seconds = i32::try_from(LEASE.as_secs()).unwrap_or(i32::MAX);
    sqlx::query_scalar!(
        "INSERT INTO leases AS l (name, holder, expires_at)
         VALUES ($1, $2, lease_now() + make_interval(secs => $3::int4::float8))
         ON CONFLICT (name) DO UPDATE
            SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at,
                token = l.token + CASE WHEN l.holder = EXCLUDED.holder THEN 0 ELSE 1 END
          WHERE l.holder = EXCLUDED.holder OR l.expires_at <= lease_now()
         RETURNING token",
        name,
        holder,
        seconds
    )
    .fetch_optional(conn)
    .await
}

/// Gives the lease up, so that a successor need not wait for it to run out.
pub async fn release(pool: &PgPool, name: &str, holder: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE leases SET expires_at = lease_now() WHERE name = $1 AND holder = $2",
        name,
        holder
    )
    .execute(pool)
    .await?;
    Ok(())
}
