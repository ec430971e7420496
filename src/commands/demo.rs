//! demo
#[derive(clap::Args, Debug)]
pub struct Args {
    #[arg(long)]
    once: bool,
}
pub async fn run(_: Args) -> anyhow::Result<()> { Ok(()) }
