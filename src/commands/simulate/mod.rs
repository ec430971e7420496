//! `lumbung simulate`: what a policy would do to a fleet, before it does it to customers.
//!
//! A scenario file says which machines there are, what is ordered, what fails and when; the placement engine that also
//! decides in production is run through it, and a report says who was admitted, which failures were absorbed, and what
//! the independent checker found. It needs no database and no cluster.
//!
//! It promises that the same file, traces and seed give the same bytes, and that orders, stays and random failures do not
//! depend on the policy: two policies are compared on the same story. It does not model the network, the start of a pod
//! or what Kubernetes does in between: a move takes no simulated time, its cost is in the report.

mod agenda;
mod ending;
mod fleet;
mod incidents;
mod measured;
mod orders;
mod random;
mod report;
mod run;
mod scenario;
mod span;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod traces;
mod valid;

use std::path::{Path, PathBuf};

use anyhow::Context;

use scenario::Scenario;
use traces::Traces;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The scenario, a YAML file; `scenarios/` has examples
    scenario: PathBuf,
    /// Also write the whole report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the nodes over time
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Another run of chance than the file's own
    #[arg(long)]
    seed: Option<u64>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let (scenario, traces) = read(&args.scenario, args.seed).with_context(|| args.scenario.display().to_string())?;
    let report = run::run(&scenario, &traces)?;
    if let Some(path) = &args.json {
        write(path, &(serde_json::to_string(&report)? + "\n"))?;
    }
    if let Some(path) = &args.svg {
        write(path, &svg::draw(&report))?;
    }
    print!("{}", table::render(&report));
    Ok(())
}

/// Paths of traces are relative to the scenario's file.
fn read(path: &Path, seed: Option<u64>) -> anyhow::Result<(Scenario, Traces)> {
    let text = std::fs::read_to_string(path).context("cannot be read")?;
    let mut scenario = Scenario::from_yaml(&text)?;
    scenario.seed = seed.unwrap_or(scenario.seed);
    let folder = path.parent().unwrap_or(Path::new("."));
    let traces = match &scenario.traces {
        Some(files) => Traces::load(folder, files)?,
        None => Traces::default(),
    };
    Ok((scenario, traces))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
