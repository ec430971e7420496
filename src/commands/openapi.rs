//! `lumbung openapi`: the document, printed without a database or a cluster.

use anyhow::Context;
use clap::Parser;

use crate::app::{App, Outside};
use crate::clock::Ambient;
use crate::config::Serve;
use crate::identity::password::Cost;
use crate::keys::Keys;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The API's public address, as the document shall name it.
    #[arg(long, default_value = "http://localhost:8080")]
    public_url: String,
}

#[derive(clap::Parser)]
struct Defaults {
    #[command(flatten)]
    serve: Serve,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let document = document(&args.public_url)?;
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}

/// Wires the app around things that are never used: only the routes are asked.
pub fn document(public_url: &str) -> anyhow::Result<serde_json::Value> {
    let flags = ["lumbung", "--simulate", "--public-url", public_url];
    let config = Defaults::try_parse_from(flags).context("the default settings")?.serve;
    let ambient = Ambient::system();
    let nowhere = "http://127.0.0.1:9".parse().context("an address")?;
    let outside = Outside {
        pool: sqlx::PgPool::connect_lazy("postgres://127.0.0.1:9/none")?,
        database_url: String::new(),
        keys: Keys::ephemeral(&ambient),
        ambient,
        kube: kube::Client::try_from(kube::Config::new(nowhere))?,
        config,
        password_cost: Cost::TRIFLING,
    };
    let document = App::wire(outside)?.openapi;
    Ok((*document).clone())
}
