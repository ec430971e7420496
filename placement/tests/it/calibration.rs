//! A rule chosen on a fleet's own past, and what becomes of it afterwards.

use lumbung_placement::usage::{Calibration, CpuRule, History, Promise, Summary, UsageRule, UsageSpec, calibrate};
use lumbung_placement::{Load, PPM};

const STEPS: usize = 288;
const CAPACITY: i64 = 8_000;

/// A small linear congruential sequence (Knuth's MMIX constants), so that fleets are the same everywhere.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Workloads around a level of their own that have nothing to do with each other.
fn independent(workloads: usize, steps: usize, seed: u64) -> Vec<Vec<i64>> {
    let mut sequence = Sequence(seed);
    (0..workloads)
        .map(|_| {
            let level = 20 + sequence.below(180);
            (0..steps).map(|_| level / 2 + sequence.below(level + 1)).collect()
        })
        .collect()
}

fn base() -> UsageRule {
    UsageRule::new(UsageSpec {
        cpu_line_ppm: PPM,
        ..UsageSpec::default()
    })
    .unwrap()
}

fn on(rows: &[Vec<i64>]) -> Calibration {
    let history = History {
        start_seconds: 0,
        step_seconds: 300,
        cpu_milli: rows,
    };
    calibrate(&base(), &history, CAPACITY)
}

fn rho_ppm(calibration: &Calibration) -> i64 {
    match calibration.rule.spec().cpu {
        CpuRule::Gaussian { rho_ppm, .. } => rho_ppm,
        CpuRule::Quantile { .. } => panic!("percentiles were chosen: {calibration:?}"),
    }
}

#[test]
fn independent_workloads_are_found_to_be_and_the_conditions_hold_afterwards() {
    let fleet = independent(240, 2 * STEPS, 7);
    let (past, future): (Vec<Vec<i64>>, Vec<Vec<i64>>) = fleet
        .iter()
        .map(|row| (row[..STEPS].to_vec(), row[STEPS..].to_vec()))
        .unzip();
    let calibration = on(&past);
    assert!(rho_ppm(&calibration) < 10_000, "{calibration:?}");
    let back_test = calibration.back_test.unwrap();
    assert!(
        back_test.mean_over_ppm <= 10_000 && back_test.bad_nodes_ppm <= 50_000,
        "{back_test:?}"
    );

    let rule = calibration.rule;
    let promise = Promise {
        cpu_request_milli: 250,
        cpu_limit_milli: 1_000,
        mem_mib: 0,
    };
    let (mut sum, mut used, mut taken) = (Load::default(), vec![0; STEPS], 0);
    for (past, future) in past.iter().zip(&future) {
        let mut summary = Summary::default();
        for (at, milli) in (0..).zip(past) {
            summary.observe(at * 300, *milli, 0);
        }
        let next = sum.plus(summary.load(&rule, 287 * 300, promise));
        if rule.predict(&next).cpu_milli > CAPACITY {
            break;
        }
        (sum, taken) = (next, taken + 1);
        used.iter_mut().zip(future).for_each(|(used, milli)| *used += milli);
    }
    let over = used.iter().filter(|used| **used > CAPACITY).count();
    assert!(over * 100 <= STEPS, "{over} of {STEPS} steps over capacity");
    // Requests of 250m would stop at 32, limits at 8.
    assert!((60..=80).contains(&taken), "{taken} taken");
}

#[test]
fn workloads_that_move_together_are_found_to() {
    let wave: Vec<i64> = (0..2 * STEPS).map(|step| if step % 7 < 3 { 60 } else { 140 }).collect();
    let mut sequence = Sequence(3);
    let together: Vec<Vec<i64>> = (0..240)
        .map(|_| wave.iter().map(|milli| milli + sequence.below(5)).collect())
        .collect();
    let calibration = on(&together);
    // Filled by deviations or by percentiles, a node has to hold everybody's 140m at once.
    let sum = (0..100).fold(Load::default(), |sum, _| {
        sum.plus(load_of(&together[0], &calibration.rule))
    });
    assert!(
        (13_800..=16_500).contains(&calibration.rule.predict(&sum).cpu_milli),
        "{calibration:?}"
    );
}

fn load_of(row: &[i64], rule: &UsageRule) -> Load {
    let (mut summary, mut at) = (Summary::default(), 0);
    for milli in row {
        summary.observe(at, *milli, 0);
        at += 300;
    }
    let promise = Promise {
        cpu_request_milli: 250,
        cpu_limit_milli: 1_000,
        mem_mib: 0,
    };
    summary.load(rule, at - 300, promise)
}

#[test]
fn a_fleet_that_kept_growing_admits_less_than_a_steady_one() {
    let steady = independent(240, STEPS, 11);
    let growing: Vec<Vec<i64>> = steady
        .iter()
        .map(|row| (0..).zip(row).map(|(step, milli)| milli * (288 + step) / 432).collect())
        .collect();
    let admits = |rows: &[Vec<i64>]| {
        let rule = on(rows).rule;
        let sum = steady
            .iter()
            .take(50)
            .fold(Load::default(), |sum, row| sum.plus(load_of(row, &rule)));
        rule.predict(&sum).cpu_milli
    };
    assert!(
        admits(&growing) > admits(&steady),
        "the same workloads are expected to need more"
    );
}

#[test]
fn the_same_past_gives_the_same_rule() {
    let rows = independent(200, STEPS, 5);
    assert_eq!(on(&rows), on(&rows));
}

#[test]
fn without_enough_to_go_by_nothing_changes() {
    let unchanged = Calibration {
        rule: base(),
        back_test: None,
    };
    assert_eq!(on(&[]), unchanged, "no workloads");
    assert_eq!(on(&independent(240, 95, 1)), unchanged, "a short history");
    assert_eq!(on(&independent(20, STEPS, 1)), unchanged, "too few to fill a node");
    let history = independent(240, STEPS, 1);
    let history = History {
        start_seconds: 0,
        step_seconds: 300,
        cpu_milli: &history,
    };
    assert_eq!(calibrate(&base(), &history, 0), unchanged, "no node");
}
