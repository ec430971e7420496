//! Demand from use: what summaries remember, what rules predict and write, when a node is hot.

use lumbung_placement::usage::{CpuRule, Predicted, Promise, Summary, UsageRule, UsageSpec, WINDOWS, is_hot};
use lumbung_placement::{Load, PPM};
use proptest::prelude::*;

const DAY: i64 = 86_400;
const PROMISE: Promise = Promise {
    cpu_request_milli: 250,
    cpu_limit_milli: 1_000,
    mem_mib: 1_024,
};

fn rule(cpu: CpuRule) -> UsageRule {
    UsageRule::default().with_cpu(cpu).unwrap()
}

fn gaussian(z_milli: i64, rho_ppm: i64) -> UsageRule {
    rule(CpuRule::Gaussian { z_milli, rho_ppm })
}

/// Samples every five minutes over whole days, as a function of the step.
fn measured(days: i64, sample: impl Fn(i64) -> (i64, i64)) -> Summary {
    let mut summary = Summary::default();
    for step in 0..days * 288 {
        let (cpu_milli, mem_mib) = sample(step);
        summary.observe(step * 300, cpu_milli, mem_mib);
    }
    summary
}

fn load(summary: &Summary, days: i64) -> Load {
    summary.load(&UsageRule::default(), days * DAY - 300, PROMISE)
}

fn amount() -> impl Strategy<Value = i64> {
    0..=50_000_000_i64
}

prop_compose! {
    fn a_load()(
        fixed in (0..10_000_i64, 0..100_000_i64),
        mean in prop::array::uniform6(amount()),
        high in prop::array::uniform6(amount()),
        spread in (0..1_000_000_000_i64, amount()),
        mem in prop::array::uniform6((0..100_000_i64, 0..100_000_i64)),
    ) -> Load {
        Load {
            fixed_cpu_milli: fixed.0,
            fixed_mem_mib: fixed.1,
            cpu_mean_micro: mean,
            cpu_high_micro: high,
            cpu_variance: spread.0,
            cpu_deviation_micro: spread.1,
            mem_mean_mib: mem.map(|window| window.0),
            mem_peak_mib: mem.map(|window| window.0 + window.1),
        }
    }
}

fn a_rule() -> impl Strategy<Value = UsageRule> {
    let cpu = prop_oneof![
        (0..=20_000_i64, 0..=PPM).prop_map(|(z_milli, rho_ppm)| CpuRule::Gaussian { z_milli, rho_ppm }),
        (PPM / 2..=2 * PPM).prop_map(|scale_ppm| CpuRule::Quantile { scale_ppm }),
    ];
    (cpu, 0..=PPM, 0..=PPM).prop_map(|(cpu, mem_toward_peak_ppm, mem_of_peaks_ppm)| {
        UsageRule::new(UsageSpec {
            cpu,
            mem_toward_peak_ppm,
            mem_of_peaks_ppm,
            ..UsageSpec::default()
        })
        .unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_predicted_grows_with_every_component(rule in a_rule(), load in a_load(), more in a_load()) {
        prop_assert!(rule.predict(&load).within(rule.predict(&load.plus(more))));
        let both = rule.predict(&load.max(more));
        prop_assert!(rule.predict(&load).within(both) && rule.predict(&more).within(both));
        prop_assert_eq!(load.plus(more).minus(more), load);
    }

    #[test]
    fn what_is_written_adds_up_to_no_more_than_is_predicted(
        rule in a_rule(),
        loads in prop::collection::vec(a_load(), 1..12),
    ) {
        let sum = loads.iter().fold(Load::default(), |sum, load| sum.plus(*load));
        let written = loads.iter().map(|load| rule.written(load)).fold(Predicted::default(), |sum, one| Predicted {
            cpu_milli: sum.cpu_milli + one.cpu_milli,
            mem_mib: sum.mem_mib + one.mem_mib,
        });
        prop_assert!(written.within(rule.predict(&sum)), "{written:?} is more than {:?}", rule.predict(&sum));
    }

    #[test]
    fn a_summary_knows_the_mean_exactly_and_the_percentile_to_an_eighth(
        samples in prop::collection::vec(0..4_000_i64, 48..49),
    ) {
        let mut summary = Summary::default();
        for (at, milli) in (0..).zip(&samples) {
            summary.observe(at * 299, *milli, 0);
        }
        let load = summary.load(&rule_for_short_histories(), 48 * 299, Promise { cpu_limit_milli: 0, ..PROMISE });
        prop_assert_eq!(load.cpu_mean_micro[0], samples.iter().sum::<i64>() * 1_000 / 48);
        let mut sorted = samples;
        sorted.sort_unstable();
        // The 46th of 48 is the nearest rank to 0.95.
        let exact = sorted[45] * 1_000;
        prop_assert!((load.cpu_high_micro[0] - exact).abs() <= exact / 8, "{} for {exact}", load.cpu_high_micro[0]);
    }
}

fn rule_for_short_histories() -> UsageRule {
    UsageRule::new(UsageSpec {
        min_history_seconds: 0,
        stale_after_seconds: 600,
        ..UsageSpec::default()
    })
    .unwrap()
}

#[test]
fn cold_workloads_count_as_promised_under_every_rule() {
    for rule in [
        gaussian(20_000, PPM),
        rule(CpuRule::Quantile { scale_ppm: PPM / 2 }),
        UsageRule::default(),
    ] {
        let three = [(250, 1_024), (500, 2_048), (1, 1)]
            .map(|(cpu, mem)| Load::cold(cpu, mem))
            .into_iter()
            .fold(Load::default(), Load::plus);
        let expected = Predicted {
            cpu_milli: 751,
            mem_mib: 3_073,
        };
        assert_eq!(rule.predict(&three), expected);
        assert_eq!(rule.written(&three), expected);
    }
}

#[test]
fn deviations_of_what_moves_together_add_up_and_variances_of_what_does_not() {
    // A hundred workloads of 100m, each with a deviation of 30m.
    let one = Load {
        cpu_mean_micro: [100_000; WINDOWS],
        cpu_variance: 900,
        cpu_deviation_micro: 30_000,
        ..Load::default()
    };
    let hundred = (0..100).fold(Load::default(), |sum, _| sum.plus(one));
    // 10000 + 3 · √100 · 30 and 10000 + 3 · 100 · 30, and between: 3 · √(0.9 · 100 · 900 + 0.1 · 3000²) = 2971.4.
    for (rho_ppm, milli) in [(0, 10_900), (PPM, 19_000), (PPM / 10, 12_972)] {
        assert_eq!(
            gaussian(3_000, rho_ppm).predict(&hundred).cpu_milli,
            milli,
            "rho {rho_ppm}"
        );
    }
}

#[test]
fn busy_hours_of_different_workloads_are_not_added_up() {
    let night = measured(3, |step| if step % 288 < 48 { (800, 900) } else { (100, 300) });
    let evening = measured(3, |step| if step % 288 >= 240 { (800, 900) } else { (100, 300) });
    let (night, evening) = (load(&night, 3), load(&evening, 3));
    let rule = gaussian(3_000, 0);
    assert_eq!(
        rule.predict(&night.plus(night)),
        Predicted {
            cpu_milli: 1_600,
            mem_mib: 1_800
        }
    );
    assert_eq!(
        rule.predict(&night.plus(evening)),
        Predicted {
            cpu_milli: 900,
            mem_mib: 1_200
        }
    );
}

#[test]
fn too_little_or_nothing_recent_counts_as_promised() {
    let cold = Load::cold(250, 1_024);
    let (rule, now) = (UsageRule::default(), DAY);
    let mut summary = Summary::default();
    assert_eq!(summary.load(&rule, now, PROMISE), cold, "no sample");
    for step in 0..48 {
        summary.observe(now + step * 300, 10, 100);
    }
    assert_eq!(
        summary.load(&rule, now + 47 * 300, PROMISE),
        cold,
        "not quite four hours"
    );
    summary.observe(now + 48 * 300, 10, 100);
    let last = now + 48 * 300;
    assert_ne!(summary.load(&rule, last, PROMISE), cold);
    assert_ne!(summary.load(&rule, last + 180, PROMISE), cold);
    assert_eq!(summary.load(&rule, last + 181, PROMISE), cold, "stale");
    assert_eq!(summary.age(last + 181), Some(181));
}

#[test]
fn a_stretch_of_samples_that_is_replayed_changes_nothing() {
    let once = measured(1, |step| (step, step));
    let mut twice = once.clone();
    for step in 0..288 {
        twice.observe(step * 300, 999, 999);
    }
    assert_eq!(once, twice);
}

#[test]
fn cpu_beyond_the_limit_is_an_artefact() {
    let load = load(&measured(1, |_| (1_400, 100)), 1);
    assert_eq!(load.cpu_mean_micro, [1_000_000; WINDOWS]);
    assert_eq!(load.cpu_high_micro, [1_000_000; WINDOWS]);
}

#[test]
fn hours_that_were_not_seen_are_like_those_that_were() {
    let mut summary = Summary::default();
    for step in 0..60 {
        summary.observe(
            step * 300,
            if step < 48 { 100 } else { 200 },
            if step < 48 { 300 } else { 500 },
        );
    }
    let load = summary.load(&UsageRule::default(), 59 * 300, PROMISE);
    assert_eq!(
        load.cpu_mean_micro,
        [100_000, 200_000, 120_000, 120_000, 120_000, 120_000]
    );
    assert_eq!(load.mem_mean_mib, [300, 500, 340, 340, 340, 340]);
    assert_eq!(load.mem_peak_mib, [300, 500, 400, 400, 400, 400]);
}

#[test]
fn a_nightly_backup_keeps_its_height_and_an_accident_halves_every_day() {
    let nightly = measured(5, |step| (0, if step % 288 == 10 { 900 } else { 300 }));
    assert_eq!(load(&nightly, 5).mem_peak_mib[0], 900);
    let accident = |days| measured(days, |step| (0, if step == 10 { 940 } else { 300 }));
    let peaks = [1, 2, 3, 4, 12].map(|days| load(&accident(days), days).mem_peak_mib[0]);
    assert_eq!(peaks, [940, 940, 620, 460, 300]);
}

#[test]
fn who_was_killed_for_memory_wants_more_at_any_hour() {
    let mut summary = measured(2, |_| (0, 500));
    summary.out_of_memory(512);
    assert_eq!(load(&summary, 2).mem_peak_mib, [614; WINDOWS]);
    summary.out_of_memory(256);
    assert_eq!(
        load(&summary, 2).mem_peak_mib,
        [614; WINDOWS],
        "a smaller limit takes nothing back"
    );
}

#[test]
fn old_habits_fade() {
    let changed = |days| measured(days, |step| (if step < 7 * 288 { 800 } else { 100 }, 0));
    let means = [7, 8, 14, 60].map(|days| load(&changed(days), days).cpu_mean_micro[0] / 1_000);
    assert!(
        (799..=800).contains(&means[0]),
        "a constant use stays what it is: {means:?}"
    );
    assert!(
        means[1] > means[2] && means[2] > means[3] && means[3] < 120,
        "{means:?}"
    );
}

#[test]
fn a_summary_survives_json_and_stays_small() {
    let summary = measured(9, |step| ((step * 7_919) % 900, 200 + step % 50));
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    assert!(json.len() < 8_192, "{} bytes", json.len());
}

#[test]
fn a_node_opens_again_only_well_below_the_trigger() {
    let rule = UsageRule::default();
    let capacity = Predicted {
        cpu_milli: 10_000,
        mem_mib: 10_000,
    };
    // CPU 80 %, memory 85 %, five points back.
    let cases = [
        (false, 7_999, 8_499, false),
        (false, 8_000, 0, true),
        (false, 0, 8_500, true),
        (true, 7_999, 0, true),
        (true, 7_500, 0, true),
        (true, 7_499, 7_999, false),
        (true, 0, 8_000, true),
    ];
    for (was_hot, cpu_milli, mem_mib, hot) in cases {
        let used = Predicted { cpu_milli, mem_mib };
        assert_eq!(is_hot(was_hot, used, capacity, &rule), hot, "{was_hot} {used:?}");
    }
    assert!(is_hot(
        false,
        Predicted {
            cpu_milli: 1,
            mem_mib: 0
        },
        Predicted::default(),
        &rule
    ));
    assert!(!is_hot(true, Predicted::default(), Predicted::default(), &rule));
}

#[test]
fn the_lines_leave_room() {
    let room = UsageRule::default().room(Predicted {
        cpu_milli: 7_501,
        mem_mib: 30_720,
    });
    assert_eq!(
        room,
        Predicted {
            cpu_milli: 6_750,
            mem_mib: 27_648
        }
    );
}

#[test]
fn every_field_out_of_range_is_named_also_in_json() {
    let good = UsageSpec::default();
    let with_cpu = |cpu| UsageSpec { cpu, ..good };
    let cases = [
        (
            "cpu.gaussian.z_milli",
            with_cpu(CpuRule::Gaussian {
                z_milli: -1,
                rho_ppm: 0,
            }),
        ),
        (
            "cpu.gaussian.rho_ppm",
            with_cpu(CpuRule::Gaussian {
                z_milli: 0,
                rho_ppm: PPM + 1,
            }),
        ),
        ("cpu.quantile.scale_ppm", with_cpu(CpuRule::Quantile { scale_ppm: 0 })),
        (
            "mem_toward_peak_ppm",
            UsageSpec {
                mem_toward_peak_ppm: -1,
                ..good
            },
        ),
        (
            "mem_of_peaks_ppm",
            UsageSpec {
                mem_of_peaks_ppm: PPM + 1,
                ..good
            },
        ),
        (
            "cpu_line_ppm",
            UsageSpec {
                cpu_line_ppm: PPM + 1,
                ..good
            },
        ),
        (
            "mem_line_ppm",
            UsageSpec {
                mem_line_ppm: 0,
                ..good
            },
        ),
        ("min_samples", UsageSpec { min_samples: 0, ..good }),
        (
            "min_history_seconds",
            UsageSpec {
                min_history_seconds: -1,
                ..good
            },
        ),
        (
            "stale_after_seconds",
            UsageSpec {
                stale_after_seconds: -1,
                ..good
            },
        ),
        (
            "cpu_trigger_ppm",
            UsageSpec {
                cpu_trigger_ppm: 0,
                ..good
            },
        ),
        (
            "mem_trigger_ppm",
            UsageSpec {
                mem_trigger_ppm: PPM + 1,
                ..good
            },
        ),
        (
            "reopen_below_ppm",
            UsageSpec {
                reopen_below_ppm: 800_001,
                ..good
            },
        ),
    ];
    for (field, spec) in cases {
        assert_eq!(UsageRule::new(spec).unwrap_err().field, field);
        let json = serde_json::to_string(&spec).unwrap();
        let error = serde_json::from_str::<UsageRule>(&json).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let json = serde_json::to_string(&UsageRule::default()).unwrap();
    assert_eq!(serde_json::from_str::<UsageRule>(&json).unwrap(), UsageRule::default());
}
