//! Replays transcripts of a real API server and compares every answer.
//!
//! The transcripts are in `tests/golden`; `golden.toml` lists what is not compared, each with its reason. Another folder
//! in the same format is replayed instead when LUMBUNG_GOLDEN names it.

mod matching;
mod player;
mod skips;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::skips::Skips;

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("LUMBUNG_GOLDEN").map_or_else(|| here.join("tests/golden"), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_are_given() {
    let listed =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden.toml")).expect("golden.toml");
    let skips = Skips::parse(&listed).expect("golden.toml is well-formed");
    let mut transcripts: Vec<(String, Value)> = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder of transcripts") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let text = std::fs::read_to_string(&path).expect("a transcript");
            transcripts.push((name, serde_json::from_str(&text).expect("a transcript is JSON")));
        }
    }
    transcripts.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!transcripts.is_empty(), "there are no transcripts to replay");

    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    let mut played = Vec::new();
    for (name, transcript) in &transcripts {
        if let Some(reason) = skips.transcript(name) {
            println!("{name}: skipped: {reason}");
            skipped += transcript["steps"].as_array().map_or(0, Vec::len);
        } else {
            let skips = &skips;
            played.push(async move { (name, player::play(name, transcript, skips).await) });
        }
    }
    // Most of the time goes into watches that end by time-out, so all are played at once.
    for (name, outcome) in futures::future::join_all(played).await {
        let (compared, left_out, differ) = (outcome.passed, outcome.skipped, outcome.failures.len());
        println!("{name}: {compared} compared, {left_out} skipped, {differ} differences");
        passed += compared;
        skipped += left_out;
        failures.extend(outcome.failures);
    }
    println!("{} transcripts: {passed} steps compared, {skipped} skipped", transcripts.len());
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
