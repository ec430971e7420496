//! Regions: a region is one K3s. There is one for now; every row that belongs to a cluster names it already.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Ambient;

const DEFAULT_SLUG: &str = "default";

/// The region of the cluster that this server is connected to, made at the first start.
pub async fn ensure_default(conn: &mut PgConnection, ambient: &Ambient) -> sqlx::Result<Uuid> {
    sqlx::query!(
        "INSERT INTO regions (id, slug, name, created_at) VALUES ($1, $2, 'Default', $3) ON CONFLICT (slug) DO NOTHING",
        ambient.new_id(),
        DEFAULT_SLUG,
        ambient.now() as _
    )
    .execute(&mut *conn)
    .await?;
    default(conn).await
}

/// The default region's id. There is one since the server's first start.
pub async fn default(conn: &mut PgConnection) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!("SELECT id FROM regions WHERE slug = $1", DEFAULT_SLUG)
        .fetch_one(conn)
        .await
}
