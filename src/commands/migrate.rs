//! `lumbung migrate`: the schema, without starting the server. `serve` does the same when it starts.

use anyhow::Context;

use crate::clock::Ambient;
use crate::config;
use crate::db;

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    database: config::Database,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let (embedded, url) = super::serve::database(&args.database, &Ambient::system()).await?;
    db::migrate(&url).await.context("migrating the database")?;
    println!("The schema is up to date.");
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    Ok(())
}
