//! The program runs without traces, writes every figure, and the engine reaches what it promises on the generated sets.

use std::process::Command;

use serde_json::Value;

#[test]
fn figures_are_written_and_ours_keep_their_conditions() {
    let path = std::env::temp_dir().join(format!("lumbung-quality-{}.json", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_quality"))
        .args(["--quick", "--only", "pack,churn", "--json"])
        .arg(&path)
        .output()
        .expect("the program was built beside this test");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let of = |task: &str, policy: &str| {
        let found = figures
            .iter()
            .find(|figure| figure["task"] == task && figure["policy"] == policy);
        found.unwrap_or_else(|| panic!("{task} has no figure of {policy}"))
    };
    let pack = of("pack", "lumbung");
    assert_eq!(pack["valid"], true, "{pack}");
    assert!(pack["ratio"].as_f64().unwrap() <= 1.01, "{pack}");
    let churn = of("churn", "lumbung");
    assert_eq!(churn["valid"], true, "{churn}");
    let best = churn["detail"]["best simple rule"].as_f64().unwrap();
    assert!(churn["value"].as_f64().unwrap() > best, "{churn}");
    assert!(
        !report["skipped"].as_array().unwrap().is_empty(),
        "what needs traces says so"
    );
}

#[test]
fn an_unknown_task_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_quality"))
        .args(["--only", "chess"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no task chess"));
}
