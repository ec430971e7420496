//! The scenario file: what its fields are called, what they are when left out. [`super::valid`] says what they may be.
//!
//! Every error names its field. Unknown fields are errors: a misspelt one would otherwise run another scenario than the
//! one that was meant.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, anyhow};
use placement::{Admission, Policy, PolicySpec, Priority, Resources, usage::UsageSpec};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{span::Span, valid};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    #[serde(default)]
    pub seed: u64,
    /// How long the simulated time is.
    pub length: Span,
    /// The engine's policy; fields that are left out have its defaults.
    #[serde(default, deserialize_with = "policy")]
    pub policy: Policy,
    pub nodes: Vec<Machines>,
    pub plans: Vec<Plan>,
    #[serde(default)]
    pub arrivals: Vec<Arrivals>,
    #[serde(default)]
    pub failures: Option<Failures>,
    #[serde(default)]
    pub events: Vec<Event>,
    /// Machines that decide; while too few of them are up, nothing is placed anew.
    #[serde(default)]
    pub control_plane: Vec<String>,
    #[serde(default)]
    pub traces: Option<TraceFiles>,
    /// How often prices, certificates, and requests under a usage rule are looked at.
    #[serde(default = "day")]
    pub review: Span,
}

/// Machines of one class. One is called as its class is, several get numbers: `small-1`, `small-2`, …
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machines {
    pub class: String,
    #[serde(default = "one")]
    pub count: u32,
    pub cpu_milli: i64,
    pub mem_mib: i64,
    #[serde(default)]
    pub disk_mib: i64,
    #[serde(default = "max_pods")]
    pub pods: i64,
    /// What pods that are not ours request on each.
    #[serde(default)]
    pub foreign: Resources,
    #[serde(default)]
    pub zone: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default = "open")]
    pub admission: Admission,
    #[serde(default = "whole")]
    pub cpu_speed_ppm: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub name: String,
    /// How often it is ordered, against the other plans.
    #[serde(default = "one")]
    pub weight: u32,
    pub request: Amount,
    pub limit: Amount,
    #[serde(default)]
    pub disk_mib: i64,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default)]
    pub volume: Volume,
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    pub cpu_milli: i64,
    pub mem_mib: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volume {
    /// It follows its pod to another node.
    #[default]
    Follows,
    /// It is on the disk of the first node, and stays there.
    Pinned,
}

/// Orders that come by chance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// The mean time between two.
    pub every: Span,
    /// The mean time until it is cancelled; without it, it stays.
    #[serde(default)]
    pub stay: Option<Span>,
    #[serde(default)]
    pub from: Span,
    #[serde(default)]
    pub until: Option<Span>,
    /// Only these plans; all of them when empty.
    #[serde(default)]
    pub plans: Vec<String>,
}

/// Machines that fail by chance, each as likely as any other.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// The mean time between two, over the whole fleet.
    pub every: Span,
    /// How long one lasts.
    pub last: Span,
    #[serde(default)]
    pub from: Span,
}

/// Something at a given time: exactly one of `fill`, `fail` and `drain`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub at: Span,
    /// Orders of this plan until one is refused.
    #[serde(default)]
    pub fill: Option<String>,
    /// No more than so many orders of a fill.
    #[serde(default)]
    pub most: Option<u32>,
    #[serde(default)]
    pub fail: Option<String>,
    #[serde(default)]
    pub drain: Option<String>,
    /// When the machine returns, after the event; never, if left out.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
}

/// Measured use, one row per pod: each order gets a row by chance, and repeats it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceFiles {
    /// CSV with a heading; columns named by a letter and a number (s0, s1, …) are samples.
    pub cpu: Option<PathBuf>,
    pub memory: Option<PathBuf>,
    /// From one sample to the next.
    #[serde(default = "five_minutes")]
    pub step: Span,
    /// What a sample of the limit counts as whole: 1000 for permille, 100 for percent.
    #[serde(default = "permille")]
    pub whole: i64,
}

fn one() -> u32 {
    1
}

fn max_pods() -> i64 {
    110
}

fn open() -> Admission {
    Admission::Open
}

fn whole() -> i64 {
    placement::PPM
}

fn permille() -> i64 {
    1_000
}

fn day() -> Span {
    Span::DAY
}

fn five_minutes() -> Span {
    Span::FIVE_MINUTES
}

/// What is written stands over the engine's defaults; under `usage`, over the defaults of a usage rule.
fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    let written = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let defaults = serde_json::to_value(PolicySpec::default()).map_err(D::Error::custom)?;
    let mut merged = defaults.as_object().cloned().unwrap_or_default();
    for (field, value) in written {
        let beneath = match field.as_str() {
            "usage" => serde_json::to_value(UsageSpec::default()).map_err(D::Error::custom)?,
            "setup_reserve" => merged.get(&field).cloned().unwrap_or_default(),
            _ => Value::Null,
        };
        merged.insert(field, over(beneath, value));
    }
    serde_json::from_value(Value::Object(merged)).map_err(D::Error::custom)
}

fn over(beneath: Value, written: Value) -> Value {
    match (beneath, written) {
        (Value::Object(mut beneath), Value::Object(written)) => {
            beneath.extend(written);
            Value::Object(beneath)
        }
        (_, written) => written,
    }
}

impl Scenario {
    pub fn from_yaml(text: &str) -> anyhow::Result<Self> {
        // By way of JSON values: an error inside then names the field.
        let value: Value = serde_saphyr::from_str(text).map_err(|error| {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            anyhow!("not YAML: {first}")
        })?;
        let scenario: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            anyhow!("{path}: {}", error.into_inner())
        })?;
        valid::check(&scenario).context("the scenario is not valid")?;
        Ok(scenario)
    }

    /// The names of all machines, in their order.
    pub fn machine_names(&self) -> Vec<String> {
        let names = self.nodes.iter().flat_map(|group| {
            (1..=group.count).map(move |number| match group.count {
                1 => group.class.clone(),
                _ => format!("{}-{number}", group.class),
            })
        });
        names.collect()
    }
}
