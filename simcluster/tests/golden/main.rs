//! Replays transcripts of a real API server and compares every answer.
//!
//! `golden.toml` lists what is not compared, each with its reason. Every call of `calls.txt` that a transcript has must be
//! compared somewhere. LUMBUNG_GOLDEN names another folder.

mod exceptions;
mod matching;
mod player;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::exceptions::Exceptions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_are_given() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("LUMBUNG_GOLDEN").map_or_else(|| here.join("tests/golden"), PathBuf::from);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let list = read(&here.join("golden.toml"));
    let exceptions = Exceptions::parse(&list).expect("golden.toml is well-formed");
    let mut transcripts: BTreeMap<String, Value> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the folder of transcripts") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            transcripts.insert(name, serde_json::from_str(&read(&path)).expect("a transcript is JSON"));
        }
    }
    assert!(!transcripts.is_empty(), "there are no transcripts to replay");

    // Most of the time goes into watches that end by time-out, so all are played at once.
    let played = transcripts.iter().map(|(name, transcript)| player::play(name, transcript, &exceptions));
    let (mut compared, mut in_part, mut failures) = (0, 0, Vec::new());
    let mut left_out = BTreeMap::<String, usize>::new();
    let (mut covered, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for (name, outcome) in transcripts.keys().zip(futures::future::join_all(played).await) {
        let (whole, part, skipped) = (outcome.compared, outcome.in_part, outcome.skipped.len());
        println!("{name}: {whole} compared, {part} in part, {skipped} skipped, {} differ", outcome.failures.len());
        compared += whole;
        in_part += part;
        outcome.skipped.into_iter().for_each(|class| *left_out.entry(class).or_default() += 1);
        covered.extend(outcome.covered);
        recorded.extend(outcome.recorded);
        failures.extend(outcome.failures);
    }
    println!("{} transcripts: {compared} steps compared, {in_part} in part; skipped: {left_out:?}", transcripts.len());
    for call in read(&here.join("calls.txt")).lines() {
        if !recorded.contains(call) {
            println!("no transcript has: {call}");
        } else if !covered.contains(call) {
            failures.push(format!("recorded, but never compared: {call}"));
        }
    }
    if std::env::var_os("LUMBUNG_GOLDEN").is_none() {
        failures.extend(exceptions.stale(&transcripts));
        let whole: Vec<_> = transcripts.keys().filter(|name| !exceptions.speaks_of(name)).map(String::as_str).collect();
        let line = format!("whole = \"{}\"", whole.join(", "));
        failures
            .extend((!list.lines().any(|listed| listed == line)).then(|| format!("golden.toml does not say: {line}")));
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
