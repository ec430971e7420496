//! How good the engine's answers are, beside the rules that others use:
//! `cargo run --release -p lumbung-bench --bin quality -- --data DIR --json FILE`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use lumbung_bench::report::Report;
use lumbung_bench::tasks::{self, Context};

#[derive(Parser)]
struct Args {
    /// A directory with traces (docs/benchmarks.md); without it small generated sets are used.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write every figure there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these tasks, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
}

type Task = fn(&Context, &mut Report) -> anyhow::Result<()>;

const TASKS: &[(&str, Task)] = &[
    // First: its memory is what the process has grown by.
    ("replay", tasks::replay::run),
    ("pack", tasks::pack::run),
    ("churn", tasks::churn::run),
    ("cpu", tasks::cpu::run),
    ("memory", tasks::memory::run),
    ("machines", tasks::machines::run),
    ("n_plus_one", tasks::n_plus_one::run),
    ("decisions", tasks::decisions::run),
    ("failover", tasks::failover::run),
    ("defragment", tasks::defragment::run),
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    for name in &args.only {
        anyhow::ensure!(TASKS.iter().any(|(task, _)| task == name), "there is no task {name}");
    }
    let context = Context {
        data: args.data,
        seed: args.seed,
        quick: args.quick,
    };
    let mut report = Report::default();
    for (name, task) in TASKS {
        if args.only.is_empty() || args.only.iter().any(|only| only == name) {
            task(&context, &mut report).with_context(|| format!("task {name}"))?;
        }
    }
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
