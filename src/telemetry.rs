//! Logs and metrics of this process.
//!
//! Logs go to standard error: for people on a terminal, as JSON elsewhere. Metrics follow the Prometheus conventions
//! and are called `lumbung_<domain>_<what>_<unit>`; classes are labels, ids never are.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

/// What this process exposes at /metrics.
pub static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Pretty,
    Json,
}

/// Starts logging; the filter is `LUMBUNG_LOG`'s, in the form of `tracing_subscriber::EnvFilter`.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_new(filter)?;
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if pretty {
        builder.compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}

/// A counter in the registry. Panics when the name is taken (two places would count into one another) or not a
/// counter's.
pub fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    assert!(name.ends_with("_total"), "{name}: a counter's name ends with _total");
    let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric");
    REGISTRY
        .register(Box::new(metric.clone()))
        .expect("a metric is registered once");
    metric
}

/// A gauge likewise. The endings of counters and of a histogram's parts are not for gauges: readers take them for those.
pub fn gauge(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let taken = ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|ending| name.ends_with(ending));
    assert!(!taken, "{name}: not a gauge's name");
    let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid metric");
    REGISTRY
        .register(Box::new(metric.clone()))
        .expect("a metric is registered once");
    metric
}

pub fn histogram(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = HistogramVec::new(options, labels).expect("a valid metric");
    REGISTRY
        .register(Box::new(metric.clone()))
        .expect("a metric is registered once");
    metric
}

/// The text of /metrics.
pub fn render() -> Vec<u8> {
    let mut text = Vec::new();
    // Encoding fails only when writing does, and a Vec takes everything.
    let _ = TextEncoder::new().encode(&REGISTRY.gather(), &mut text);
    text
}

/// Measures how long real work takes. Never for decisions: those take their time from the Clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this measures, it decides nothing")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_not_named_like_one_of_another_kind() {
        for name in ["lumbung_test_things_count", "lumbung_test_things_total"] {
            assert!(
                std::panic::catch_unwind(|| gauge(name, "A test.", &[])).is_err(),
                "{name}"
            );
        }
        assert!(std::panic::catch_unwind(|| counter("lumbung_test_things", "A test.", &[])).is_err());
        gauge("lumbung_test_things", "A test.", &[]);
    }
}
