//! The rules that others use to admit by use, in floats, straight from their definitions.
//!
//! Sources: limit-sum, RC-like (Resource Central, SOSP'17), N-sigma and their maximum as in the simulator of "Take it to
//! the limit" (EuroSys'21); correlated Gaussian sums with one correlation for the fleet; the 95th percentile per
//! four-hour window. Every rule sees the past of a trace, never its future.

#![allow(clippy::cast_precision_loss)] // Counts and samples are far below 2^52.

use crate::traces::Trace;

/// What a rule keeps of the workloads that a node already has.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub workloads: f64,
    /// Sums of the rule's features.
    pub sums: Vec<f64>,
    /// The node's past, step by step; only for rules that look at machines.
    pub series: Vec<f64>,
}

type Predict = Box<dyn Fn(&State) -> f64>;

/// Admits while the prediction for the node stays at or below its capacity.
pub struct Baseline {
    pub name: String,
    features: Vec<Vec<f64>>,
    series: Option<Vec<Vec<f64>>>,
    predict: Predict,
}

impl Baseline {
    fn of_sums(name: &str, features: Vec<Vec<f64>>, predict: impl Fn(&State) -> f64 + 'static) -> Self {
        Self {
            name: name.to_owned(),
            features,
            series: None,
            predict: Box::new(predict),
        }
    }

    fn of_machines(name: &str, trace: &Trace, predict: impl Fn(&State) -> f64 + 'static) -> Self {
        Self {
            series: Some(trace.past.iter().map(|row| floats(row)).collect()),
            ..Self::of_sums(name, vec![Vec::new(); trace.past.len()], predict)
        }
    }

    /// The state with one workload more.
    pub fn with(&self, state: &State, workload: usize) -> State {
        let added = |sums: &[f64], more: &[f64]| -> Vec<f64> {
            let at = |index: usize| sums.get(index).copied().unwrap_or(0.0);
            more.iter()
                .enumerate()
                .map(|(index, value)| at(index) + value)
                .collect()
        };
        State {
            workloads: state.workloads + 1.0,
            sums: added(&state.sums, &self.features[workload]),
            series: self
                .series
                .as_ref()
                .map_or_else(Vec::new, |series| added(&state.series, &series[workload])),
        }
    }

    pub fn predicted(&self, state: &State) -> f64 {
        (self.predict)(state)
    }
}

/// Everybody counts the same: limits 1:1, or a static overcommit.
pub fn fixed(name: &str, trace: &Trace, each: f64) -> Baseline {
    Baseline::of_sums(name, vec![Vec::new(); trace.past.len()], move |state| {
        state.workloads * each
    })
}

pub fn rc_like(name: &str, trace: &Trace, share: f64) -> Baseline {
    let features = trace
        .past
        .iter()
        .map(|row| vec![percentile(&floats(row), share)])
        .collect();
    Baseline::of_sums(name, features, |state| state.sums[0])
}

/// The sum of everybody's maximum.
pub fn sum_of_peaks(name: &str, trace: &Trace, margin: f64) -> Baseline {
    let features = trace
        .past
        .iter()
        .map(|row| vec![percentile(&floats(row), 1.0)])
        .collect();
    Baseline::of_sums(name, features, move |state| state.sums[0] * margin)
}

pub fn n_sigma(name: &str, trace: &Trace, n: f64, limit: f64) -> Baseline {
    Baseline::of_machines(name, trace, move |state| {
        let (mean, variance) = moments(&state.series);
        (mean + n * variance.sqrt()).min(state.workloads * limit)
    })
}

pub fn machine_maximum(name: &str, trace: &Trace) -> Baseline {
    Baseline::of_machines(name, trace, |state| state.series.iter().copied().fold(0.0, f64::max))
}

/// max(RC-like p80, N-sigma 3).
pub fn rc_or_sigma(name: &str, trace: &Trace, limit: f64) -> Baseline {
    let percentiles = rc_like("", trace, 0.8);
    let sigma = n_sigma(name, trace, 3.0, limit);
    Baseline {
        features: percentiles.features,
        predict: Box::new(move |state| (sigma.predict)(state).max(state.sums[0])),
        name: sigma.name,
        series: sigma.series,
    }
}

/// Mean, variance and deviation over the whole past; the correlation is that of the fleet.
pub fn gauss_corr(name: &str, trace: &Trace, z: f64) -> Baseline {
    let features: Vec<Vec<f64>> = trace
        .past
        .iter()
        .map(|row| {
            let (mean, variance) = moments(&floats(row));
            vec![mean, variance, variance.sqrt()]
        })
        .collect();
    let rho = correlation(trace, &features);
    Baseline::of_sums(name, features, move |state| {
        let [mean, variance, deviation] = [state.sums[0], state.sums[1], state.sums[2]];
        mean + z * (variance + rho * (deviation * deviation - variance)).sqrt()
    })
}

fn correlation(trace: &Trace, features: &[Vec<f64>]) -> f64 {
    let mut total = vec![0.0; trace.past.first().map_or(0, Vec::len)];
    for row in &trace.past {
        for (sum, value) in total.iter_mut().zip(row) {
            *sum += *value as f64;
        }
    }
    let variance: f64 = features.iter().map(|of| of[1]).sum();
    let deviation: f64 = features.iter().map(|of| of[2]).sum();
    let joint = moments(&total).1;
    ((joint - variance) / (deviation * deviation - variance).max(1e-9)).clamp(0.0, 1.0)
}

/// Six windows of four hours; the largest sum of 95th percentiles counts.
pub fn window_p95(name: &str, trace: &Trace) -> Baseline {
    let window = |step: usize| {
        let at = trace.start_seconds + trace.step_seconds * i64::try_from(step).unwrap_or(0);
        usize::try_from(at.rem_euclid(86_400) / 14_400).unwrap_or(0)
    };
    let features = trace
        .past
        .iter()
        .map(|row| {
            let mut parts = vec![Vec::new(); 6];
            for (step, value) in row.iter().enumerate() {
                parts[window(step)].push(*value as f64);
            }
            parts.iter().map(|part| percentile(part, 0.95)).collect()
        })
        .collect();
    Baseline::of_sums(name, features, |state| state.sums.iter().copied().fold(0.0, f64::max))
}

fn floats(row: &[i64]) -> Vec<f64> {
    row.iter().map(|value| *value as f64).collect()
}

/// Mean and variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance)
}

/// Nearest rank; zero of nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A rank within the values.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
