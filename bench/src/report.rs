//! Every figure of a run: printed as a table per task, written as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// `pack`, `churn`, `cpu`, `memory`, `n_plus_one`, `three_machines`, `failover`, `decisions`, `replay`, `defragment`.
    pub task: String,
    /// The data set or fleet, and what of it: "openb on 96c/384G".
    pub data: String,
    /// `lumbung` or the name of a rule that others use.
    pub policy: String,
    /// What is counted, with its unit: "bins", "pods per thread".
    pub metric: String,
    pub value: f64,
    /// What cannot be beaten, in the same unit, where one is known.
    pub bound: Option<f64>,
    /// Value against bound, or against the baseline that the task names.
    pub ratio: Option<f64>,
    /// Whether the rule kept the task's conditions (violations, moves, safety); a figure that did not is no success.
    pub valid: bool,
    /// What else belongs to the figure: violation rates, moves, percentiles.
    pub detail: std::collections::BTreeMap<String, f64>,
    /// What the issue asks for, in the terms of `ratio` if there is one, else of `value`.
    pub goal: Option<f64>,
    pub seconds: f64,
    pub seed: u64,
}

impl Figure {
    pub fn new(task: &str, data: &str, policy: &str, metric: &str, value: f64) -> Self {
        Self {
            task: task.into(),
            data: data.into(),
            policy: policy.into(),
            metric: metric.into(),
            value,
            bound: None,
            ratio: None,
            valid: true,
            detail: std::collections::BTreeMap::new(),
            goal: None,
            seconds: 0.0,
            seed: 0,
        }
    }

    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.detail.insert(name.into(), value);
        self
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub figures: Vec<Figure>,
    /// What was not run, and why.
    pub skipped: Vec<String>,
}

impl Report {
    /// Adds a figure and prints it at once: a run takes minutes.
    pub fn add(&mut self, figure: Figure) {
        if self
            .figures
            .last()
            .is_none_or(|last| last.task != figure.task || last.data != figure.data)
        {
            println!("\n{} · {} ({})", figure.task, figure.data, figure.metric);
        }
        println!("{}", line(&figure));
        self.figures.push(figure);
    }

    pub fn skip(&mut self, why: impl Into<String>) {
        let why = why.into();
        println!("\nskipped: {why}");
        self.skipped.push(why);
    }
}

fn line(figure: &Figure) -> String {
    let number = |value: f64| match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    };
    let mut text = format!("  {:<28} {:>10}", figure.policy, number(figure.value));
    let bound = figure
        .bound
        .map_or_else(String::new, |bound| format!("of {}", number(bound)));
    let ratio = figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.4}"));
    let goal = figure
        .goal
        .map_or_else(String::new, |goal| format!("goal {}", number(goal)));
    let _ = write!(text, " {bound:>12} {ratio:>8} {goal:>12} {:>8.2} s", figure.seconds);
    if !figure.valid {
        text.push_str("  INVALID");
    }
    for (name, value) in &figure.detail {
        let _ = write!(text, "  {name} {}", number(*value));
    }
    text
}
