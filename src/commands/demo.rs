//! `lumbung demo`: the whole idea in the terminal, proved step by step.
//!
//! A private database and a simulated K3s are started, a customer registers, orders three services, and watches them
//! come up over a WebSocket. Every line is printed after the thing was seen to be so; with `--once` the exit code says
//! whether all of it happened.

mod client;
mod stage;
mod story;
mod table;
mod tell;

use std::net::SocketAddr;

use super::asked_to_stop;
use tell::Tell;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// End after the last step, with exit code 0 only if every step really happened.
    #[arg(long)]
    once: bool,
    /// Address that the API listens on; another port is taken when this one is in use.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let tell = Tell::new();
    tell.title("Lumbung: an order becomes a running service");
    let stage = stage::Stage::set(&tell, args.listen).await?;
    // Whatever happens on it, the stage is cleared: no server stays behind, no file either.
    let played = async {
        let told = story::play(&tell, &stage).await?;
        if !args.once {
            tell.blank();
            tell.line(&format!(
                "API       {}/api/v1   (readable: {}/docs)",
                stage.url, stage.url
            ));
            tell.line(&format!("metrics   {}/metrics", stage.url));
            tell.line(&format!(
                "kubectl   kubectl --kubeconfig {} get pods -A",
                stage.kubeconfig.display()
            ));
            tell.line(&format!("customer  {} / {}", told.email, told.password));
            tell.line(&format!("admin     {} / {}", stage.admin_email, stage.admin_password));
            tell.blank();
            tell.line("Ctrl-C ends it and removes everything.");
            asked_to_stop().await;
        }
        anyhow::Ok(())
    };
    let outcome = tokio::select! {
        outcome = played => outcome,
        () = asked_to_stop(), if !args.once => Ok(()),
    };
    stage.clear().await?;
    outcome?;
    if args.once {
        tell.blank();
        tell.line("Every step happened.");
    }
    Ok(())
}
