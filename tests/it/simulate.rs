//! `lumbung simulate` as an operator runs it: the binary, the committed scenarios, files that are written.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use lumbung_tests::process::{Scratch, binary};
use serde_json::Value;

fn simulate(scenario: &Path, more: &[&str]) -> Output {
    Command::new(binary())
        .arg("simulate")
        .arg(scenario)
        .args(more)
        .env_remove("DATABASE_URL")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn committed(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    root.join("scenarios").join(name)
}

#[test]
fn a_scenario_becomes_a_table_json_and_a_picture() {
    let scratch = Scratch::new();
    let (json, svg) = (scratch.path("report.json"), scratch.path("report.svg"));
    let files = [
        "--json",
        json.to_str().expect("text"),
        "--svg",
        svg.to_str().expect("text"),
    ];
    let output = simulate(&committed("three-machines.yaml"), &files);
    let (said, failed) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{failed}");
    assert!(said.contains("3 of 3 failures absorbed"), "{said}");

    let text = std::fs::read_to_string(&json).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["orders"]["by_plan"][0]["admitted"], 88);
    assert_eq!(report["violations"], serde_json::json!([]));
    assert_eq!(report["incidents"].as_array().map(Vec::len), Some(3));
    let picture = std::fs::read_to_string(&svg).expect("the picture");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    for machine in ["3900X", "6900HS", "i7-7700"] {
        assert!(picture.contains(machine), "{machine} has a row");
    }

    let again = simulate(&committed("three-machines.yaml"), &files);
    assert_eq!(again.stdout, output.stdout);
    assert_eq!(std::fs::read_to_string(&json).expect("the report"), text);
}

#[test]
fn traces_are_looked_for_beside_the_scenario_and_the_seed_may_be_another() {
    let scratch = Scratch::new();
    let scenario = scratch.path("scenario.yaml");
    let yaml = "
name: measured
length: 2d
nodes: [{class: m, count: 3, cpu_milli: 4000, mem_mib: 8192}]
plans: [{name: default, request: {cpu_milli: 250, mem_mib: 512}, limit: {cpu_milli: 1000, mem_mib: 1024}}]
arrivals: [{every: 2h, stay: 1d}]
traces: {cpu: cpu.csv}
";
    std::fs::write(&scenario, yaml).expect("written");
    std::fs::write(scratch.path("cpu.csv"), "vm,s0,s1\na,100,200\nb,300,\n").expect("written");
    let (one, two) = (simulate(&scenario, &[]), simulate(&scenario, &["--seed", "7"]));
    let said = String::from_utf8_lossy(&one.stdout);
    assert!(said.contains("Use, by the traces"), "{said}");
    assert!(two.status.success());
    assert_ne!(one.stdout, two.stdout);
}

#[test]
fn what_is_wrong_is_named_with_file_and_field() {
    let scratch = Scratch::new();
    let scenario = scratch.path("bad.yaml");
    let good = std::fs::read_to_string(committed("three-machines.yaml")).expect("the scenario");
    std::fs::write(&scenario, good.replace("fail: 6900HS", "fail: 6900")).expect("written");
    let output = simulate(&scenario, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("bad.yaml") && said.contains("events[2].fail"), "{said}");

    let missing = simulate(&scratch.path("none.yaml"), &[]);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && said.contains("none.yaml"), "{said}");
}
