//! Ends operations whose deadline has passed.

use sqlx::PgPool;

use super::store;
use crate::clock::Ambient;
use crate::tasks::Report;

pub async fn run(pool: &PgPool, ambient: &Ambient) -> anyhow::Result<Report> {
    let ended = store::expire(&mut *pool.acquire().await?, ambient.now()).await?;
    Ok(Report::did(ended))
}
