//! Whole runs of small scenarios, with outcomes that can be worked out by hand.

use super::{report::Report, run::run, scenario::Scenario, svg, table, traces::Traces};

const THREE: &str = include_str!("../../../scenarios/three-machines.yaml");
const HUNDRED: &str = include_str!("../../../scenarios/hundred-nodes.yaml");

/// Two equal machines for four default pods each, and whatever is added.
const TWO: &str = "
name: two
length: 4d
policy: {setup_reserve: {cpu_milli: 0, mem_mib: 0, disk_mib: 0, pods: 0}}
nodes: [{class: m, count: 2, cpu_milli: 1000, mem_mib: 8192, disk_mib: 1000}]
";
const DEFAULT: &str = "
plans: [{name: default, request: {cpu_milli: 250, mem_mib: 512}, limit: {cpu_milli: 1000, mem_mib: 1024}}]
";

fn play(yaml: &str) -> Report {
    run(&Scenario::from_yaml(yaml).unwrap(), &Traces::default()).unwrap()
}

fn admitted(report: &Report) -> u64 {
    report.orders.by_plan.iter().map(|plan| plan.admitted).sum()
}

fn stranded(report: &Report) -> Vec<usize> {
    report.incidents.iter().map(|incident| incident.stranded).collect()
}

#[test]
fn with_n_plus_one_each_of_the_three_machines_may_die() {
    let report = play(THREE);
    assert_eq!(admitted(&report), 88, "90 but for the room for setup pods");
    assert_eq!(stranded(&report), [0, 0, 0]);
    assert!(report.incidents.iter().all(|incident| incident.absorbed));
    assert_eq!((report.moves.certificate, report.moves.search), (176, 0));
    assert_eq!(report.moves.cost.moves, 176, "29, 59, and then all 88");
    assert!(report.end.losses.iter().all(|loss| loss.absorbed() && loss.certified));
    assert_eq!((report.lost_pod_seconds, report.violations.len()), (0, 0));
}

#[test]
fn a_flat_reserve_sells_more_and_loses_the_largest_machine() {
    let report = play(&THREE.replace("reserve: n_plus_one", "reserve: {fraction_ppm: 300000}"));
    assert_eq!(admitted(&report), 126);
    assert_eq!(stranded(&report), [0, 8, 38]);
    let twelve_hours = 12 * 3_600;
    assert_eq!(report.lost_pod_seconds, (38 + 8) * twelve_hours);
    let text = table::render(&report);
    assert!(text.contains("1 of 3 failures absorbed"), "{text}");
    assert!(
        text.contains("3900X must not fail: of 38 pods, 0 move and 38 find no place."),
        "{text}"
    );
}

#[test]
fn the_same_file_and_seed_are_the_same_bytes() {
    let short = HUNDRED.replace("length: 30d", "length: 21d");
    let bytes = |yaml: &str| {
        let report = play(yaml);
        (
            serde_json::to_string(&report).unwrap(),
            svg::draw(&report),
            table::render(&report),
        )
    };
    let first = bytes(&short);
    assert_eq!(first, bytes(&short));
    assert_ne!(first.0, bytes(&short.replace("seed: 3", "seed: 4")).0);
}

#[test]
fn the_story_does_not_depend_on_the_policy() {
    let story = |reserve: &str| {
        let report = play(
            &HUNDRED
                .replace("length: 30d", "length: 21d")
                .replace("n_plus_one", reserve),
        );
        let asked: Vec<u64> = report
            .orders
            .by_plan
            .iter()
            .map(|plan| plan.admitted + plan.refused())
            .collect();
        let failed: Vec<(i64, String)> = report.incidents.iter().map(|one| (one.at, one.node.clone())).collect();
        (asked, failed, admitted(&report), report.violations.len())
    };
    let (safe, none, flat) = (story("n_plus_one"), story("none"), story("{fraction_ppm: 400000}"));
    assert_eq!((&safe.0, &safe.1), (&none.0, &none.1));
    assert_eq!((&safe.0, &safe.1), (&flat.0, &flat.1));
    assert!(safe.2 > flat.2, "{} {}", safe.2, flat.2);
    assert_eq!((safe.3, none.3, flat.3), (0, 0, 0));
}

#[test]
fn without_the_machine_that_decides_nothing_is_placed_anew() {
    let events = "
control_plane: [m-1]
events: [{at: 1h, fill: default, most: 4}, {at: 1d, fail: m-1, for: 6h}, {at: 2d, fail: m-2, for: 6h}]
";
    let report = play(&[TWO, DEFAULT, events].concat());
    let [first, second] = &report.incidents[..] else {
        panic!("{:?}", report.incidents)
    };
    assert_eq!(
        (first.pods, first.stranded, first.no_control_plane, first.absorbed),
        (4, 4, true, false)
    );
    assert_eq!(report.lost_pod_seconds, 4 * 6 * 3_600);
    assert_eq!((second.pods, second.absorbed), (0, true));
    let stops: Vec<bool> = report.end.losses.iter().map(|loss| loss.stops_placement).collect();
    assert_eq!(stops, [true, false]);
}

#[test]
fn who_stands_still_moves_as_soon_as_somebody_leaves() {
    // Eight pods, full; the machine never returns, and cancellations make room for its four one by one.
    let more = "
arrivals: [{every: 1m, stay: 12h, until: 1h}]
events: [{at: 2h, fail: m-1}]
";
    let report = play(&[TWO, DEFAULT, more].concat());
    assert_eq!(admitted(&report), 8);
    assert!(report.incidents[0].stranded > 0 && !report.incidents[0].absorbed);
    assert!(report.moves.later > 0, "{:?}", report.moves);
    assert_eq!((report.end.standing_still, report.incidents[0].returned_at), (0, None));
}

#[test]
fn pinned_data_stays_and_best_effort_makes_way() {
    let plans = "
plans:
  - {name: pinned, request: {cpu_milli: 250, mem_mib: 64}, limit: {cpu_milli: 250, mem_mib: 64}, disk_mib: 100, volume: pinned}
  - {name: firm, request: {cpu_milli: 500, mem_mib: 64}, limit: {cpu_milli: 500, mem_mib: 64}, disk_mib: 500}
  - {name: trial, request: {cpu_milli: 250, mem_mib: 64}, limit: {cpu_milli: 250, mem_mib: 64}, priority: best_effort}
events:
  - {at: 1h, fill: pinned, most: 2}
  - {at: 2h, fill: firm, most: 1}
  - {at: 3h, fill: trial, most: 4}
  - {at: 1d, fail: m-1, for: 1d}
";
    let report = play(
        &[
            &TWO.replace("policy: {", "policy: {cpu_overcommit_ppm: 1000000, "),
            plans,
        ]
        .concat(),
    );
    let incident = &report.incidents[0];
    assert_eq!(
        (incident.pods, incident.pinned, incident.stranded),
        (3, 2, 0),
        "{incident:?}"
    );
    assert_eq!((incident.stopped, incident.absorbed), (2, true), "{incident:?}");
    assert_eq!(
        (report.end.running, report.end.standing_still),
        (7, 0),
        "the stopped ones run again"
    );
    assert_eq!(report.moves.cost.volume_mib, 500);
    assert_eq!(report.lost_pod_seconds, 4 * 86_400);
}

#[test]
fn what_is_measured_makes_room_under_a_usage_rule() {
    let yaml = |usage: &str| {
        let traces = "traces: {cpu: cpu.csv, memory: mem.csv}\nreview: 6h\n";
        let fills = "events: [{at: 1h, fill: default}, {at: 3d, fill: default}]\n";
        [
            &TWO.replace("policy: {", &format!("policy: {{{usage}")),
            DEFAULT,
            traces,
            fills,
        ]
        .concat()
    };
    let traces = Traces {
        cpu: vec![vec![40_000, 60_000], vec![50_000]],
        memory: vec![vec![300_000]],
        step: 300,
    };
    let play = |usage: &str| run(&Scenario::from_yaml(&yaml(usage)).unwrap(), &traces).unwrap();
    let (by_request, by_usage) = (play(""), play("usage: {}, "));
    assert_eq!(admitted(&by_request), 8);
    // Below the line of 900m a machine takes three unknown ones at 250m; once they are known to use 50m, two more.
    assert_eq!(admitted(&by_usage), 10);
    let usage = by_usage.usage.unwrap();
    assert!(usage.resized >= 6 && usage.looked_at > 1_000, "{usage:?}");
    assert_eq!((usage.cpu_over, usage.mem_over, by_usage.violations.len()), (0, 0, 0));
}

#[test]
fn the_picture_is_well_formed_whatever_things_are_called() {
    let yaml = THREE.replace(
        "name: three machines, each dies in turn",
        "name: \"<b> & \\\"co\\\" \\u0007\"",
    );
    let picture = svg::draw(&play(&yaml));
    assert!(picture.contains("&lt;b&gt; &amp; &quot;co&quot;"), "{picture}");
    let mut open = Vec::new();
    for tag in picture.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(
        picture.matches("fill=\"url(#down)\"><").count() + picture.matches("find no place</title>").count(),
        3
    );
}

#[test]
fn a_bad_scenario_names_its_field() {
    let good = [TWO, DEFAULT].concat();
    let with = |more: &str| format!("{good}{more}\n");
    let cases = [
        (good.replace("length: 4d", "length: 4"), "length: invalid type"),
        (good.replace("length: 4d", "length: 4w"), "length: \"4w\" is not a time"),
        (good.replace("length: 4d", "length: 0d"), "length: has to be longer"),
        (
            good.replace("cpu_milli: 1000, mem_mib: 8192", "cpu_mili: 1000, mem_mib: 8192"),
            "nodes[0].cpu_mili: unknown field",
        ),
        (good.replace("mem_mib: 8192", "mem_mib: -1"), "nodes[0].mem_mib: is -1"),
        (good.replace("count: 2", "count: 0"), "nodes"),
        (
            good.replace("policy: {", "policy: {reserve: {fraction_ppm: 2000000}, "),
            "policy: reserve.fraction_ppm is 2000000",
        ),
        (
            good.replace("policy: {", "policy: {reserv: none, "),
            "policy: unknown field `reserv`",
        ),
        (
            good.replace("policy: {", "policy: {usage: {cpu_line_ppm: 1}, "),
            "policy: cpu_line_ppm is 1",
        ),
        (
            good.replace("request: {cpu_milli: 250", "request: {cpu_milli: 2500"),
            "plans[0].request: requests 2500 cpu_milli",
        ),
        (with("arrivals: [{every: 0s}]"), "arrivals[0].every"),
        (
            with("arrivals: [{every: 1m, plans: [gold]}]"),
            "arrivals[0].plans[0]: there is no plan \"gold\"",
        ),
        (with("arrivals: [{every: 1s, from: 4d}]"), "arrivals[0].from"),
        (with("failures: {every: 1d, last: 0h}"), "failures.last"),
        (with("events: [{at: 1d}]"), "events[0]: says not exactly one"),
        (
            with("events: [{at: 1d, fail: m-3}]"),
            "events[0].fail: there is no node \"m-3\"",
        ),
        (with("events: [{at: 5d, fail: m-1}]"), "events[0].at: is after the end"),
        (with("control_plane: [x]"), "control_plane[0]"),
        (with("traces: {}"), "traces: names neither"),
        (with("sed: 1"), "sed: unknown field"),
        ("name: [".to_owned(), "not YAML"),
    ];
    for (yaml, wanted) in cases {
        let error = format!("{:#}", Scenario::from_yaml(&yaml).expect_err(&yaml));
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}
