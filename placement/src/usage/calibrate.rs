//! Which CPU rule suits a fleet: the candidates are tried on its own past, never on anything later.
//!
//! The past is cut twice: learn from the first half and judge on the third quarter, learn from three quarters and judge
//! on the last. Of each kind of rule, the most admitting strength that kept the conditions in both counts; the kind that
//! admitted more wins. The strength that is handed out is the mean of that one and of what held on other fleets: a
//! back-test has half of the history and a handful of quarters to go by, and one quiet or stormy afternoon should not
//! decide. If nothing kept the conditions, the past says little about the future, and the plain sum of percentiles
//! (the cautious one of the two at its usual strength) is taken.

use super::folds::{Fold, History, Score};
use super::rule::{CpuRule, UsageRule, UsageSpec};
use crate::PPM;

/// At most this share of steps over capacity, on average ...
const MEAN_OVER_PPM: i64 = PPM / 100;
/// ... and at most this share of nodes with more than one percent of their steps over.
const BAD_NODES_PPM: i64 = PPM / 20;
/// What held on the fleets that the rules were studied on, day to day and week to week.
const USUAL_Z_MILLI: i64 = 3_400;
const USUAL_SCALE_PPM: i64 = PPM;
/// Correlations between those of the two fleets: 0.002 to 0.005, and 0.1 to 0.2.
const INDEPENDENT_PPM: i64 = 30_000;
/// By a twentieth.
const CLEARLY: (i64, i64) = (21, 20);
/// Less than this is no history: two hours of five-minute samples in each quarter.
const FEWEST_STEPS: usize = 96;

/// How the chosen kind of rule did at the strength that kept the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackTest {
    pub pods_per_node_milli: i64,
    pub mean_over_ppm: i64,
    pub bad_nodes_ppm: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    pub rule: UsageRule,
    /// None if no candidate kept the conditions, or the history is too short or too small to fill a node.
    pub back_test: Option<BackTest>,
}

/// The rule for nodes with `capacity_milli`, which should be the fleet's usual node. Everything but the CPU predictor is
/// `base`'s. With too little history, or too few workloads to fill such a node, `base` is returned as it is.
pub fn calibrate(base: &UsageRule, history: &History, capacity_milli: i64) -> Calibration {
    let steps = history.len();
    let unchanged = Calibration {
        rule: *base,
        back_test: None,
    };
    if steps < FEWEST_STEPS || capacity_milli <= 0 {
        return unchanged;
    }
    let Some(learning) = relying_on_everything(base) else {
        return unchanged;
    };
    let folds = [(steps / 2, steps * 3 / 4), (steps * 3 / 4, steps)]
        .map(|(learned, until)| Fold::new(history, &learning, learned, until));
    let rho_ppm = history.correlation_ppm(&history.loads(&learning, steps), steps);
    let gaussian = |z_milli| CpuRule::Gaussian { z_milli, rho_ppm };
    let quantile = |scale_ppm| CpuRule::Quantile { scale_ppm };
    let attempt = |cpu| judge(&folds, &learning, cpu, capacity_milli);

    let widest = attempt(quantile(USUAL_SCALE_PPM));
    if widest.unfilled * 2 > widest.fillings {
        return unchanged;
    }
    let by_deviation = first_kept((2_000..=6_000).step_by(100), |z| attempt(gaussian(z)));
    let by_percentile = first_kept((560_000..=1_300_000).step_by(20_000), |scale| attempt(quantile(scale)));
    let (cpu, score) = match (by_deviation, by_percentile) {
        (Some((z, score)), other) if other.is_none_or(|(_, other)| prefer_gaussian(rho_ppm, score, other)) => {
            (gaussian(blended(z, USUAL_Z_MILLI)), Some(score))
        }
        (_, Some((scale, score))) => (quantile(blended(scale, USUAL_SCALE_PPM)), Some(score)),
        _ => (quantile(USUAL_SCALE_PPM), None),
    };
    match base.with_cpu(cpu) {
        Ok(rule) => Calibration {
            rule,
            back_test: score.map(back_test),
        },
        Err(_) => unchanged,
    }
}

/// Two parts of this fleet's back-test, three of what was usual elsewhere.
fn blended(found: i64, usual: i64) -> i64 {
    (found * 2 + usual * 3) / 5
}

/// Of two rules that did about as well, the one whose assumption the fleet is closer to: deviations add up as those of
/// independent workloads do, or they do not, and percentiles assume nothing.
fn prefer_gaussian(rho_ppm: i64, gaussian: Score, quantile: Score) -> bool {
    if rho_ppm <= INDEPENDENT_PPM {
        gaussian.pods * CLEARLY.0 >= quantile.pods * CLEARLY.1
    } else {
        gaussian.pods * CLEARLY.1 > quantile.pods * CLEARLY.0
    }
}

/// Half a history is what there is: the back-test relies on it, however short the rule would find it.
fn relying_on_everything(base: &UsageRule) -> Option<UsageRule> {
    UsageRule::new(UsageSpec {
        min_samples: 1,
        min_history_seconds: 0,
        ..*base.spec()
    })
    .ok()
}

fn judge(folds: &[Fold; 2], rule: &UsageRule, cpu: CpuRule, capacity_milli: i64) -> Score {
    let mut all = Score::default();
    let Ok(rule) = rule.with_cpu(cpu) else { return all };
    for fold in folds {
        let score = fold.judge(&rule, capacity_milli);
        all.fillings += score.fillings;
        all.pods += score.pods;
        all.over_ppm += score.over_ppm;
        all.bad += score.bad;
        all.unfilled += score.unfilled;
    }
    all
}

/// The most admitting strength that kept the conditions on nodes that were full.
fn first_kept(strengths: impl Iterator<Item = i64>, attempt: impl Fn(i64) -> Score) -> Option<(i64, Score)> {
    strengths
        .map(|strength| (strength, attempt(strength)))
        .find(|(_, score)| {
            score.unfilled * 2 <= score.fillings
                && score.over_ppm <= MEAN_OVER_PPM * score.fillings
                && score.bad * PPM <= BAD_NODES_PPM * score.fillings
        })
}

fn back_test(score: Score) -> BackTest {
    let fillings = score.fillings.max(1);
    BackTest {
        pods_per_node_milli: score.pods * 1_000 / fillings,
        mean_over_ppm: score.over_ppm / fillings,
        bad_nodes_ppm: score.bad * PPM / fillings,
    }
}
