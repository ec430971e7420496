//! The import arrows of docs/architecture.md, held against the source: who may use whom.
//!
//! Read are the `crate::` paths of every file under src/, comments aside. A domain is a folder (or file) of src/;
//! `super` does not leave it. A new domain needs a line in [`ARROWS`] or in [`INFRASTRUCTURE`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import which other domains. All may use [`INFRASTRUCTURE`]; `kube` has its own line below.
///
/// What is wider than one might expect: every `http.rs` reads the caller from `identity`; `catalog`, `billing`,
/// `identity`, `nodes`, `instances` write the event log; `nodes` keeps its rows by region; `instances` follows its work
/// as operations, and `subscriptions` answers with them.
const ARROWS: &[(&str, &[&str])] = &[
    ("billing", &["events", "identity"]),
    ("catalog", &["events", "identity"]),
    ("events", &[]),
    ("identity", &["events"]),
    (
        "instances",
        &["catalog", "events", "identity", "operations", "scheduling"],
    ),
    ("live", &["events", "identity"]),
    ("nodes", &["events", "identity", "regions"]),
    ("operations", &["events", "identity"]),
    ("regions", &[]),
    ("scheduling", &["identity", "nodes"]),
    (
        "subscriptions",
        &[
            "billing",
            "catalog",
            "events",
            "identity",
            "instances",
            "operations",
            "scheduling",
        ],
    ),
];

/// Serves every domain and knows none, with one exception: `keys` loads what `identity` signs with.
const INFRASTRUCTURE: &[&str] = &[
    "audit",
    "clock",
    "config",
    "crash",
    "crypto",
    "db",
    "http",
    "keys",
    "kube",
    "tasks",
    "telemetry",
];
const INFRASTRUCTURE_KNOWS: &[(&str, &str)] = &[("keys", "identity")];

/// Put the parts together and run them; imported by nobody else.
const TOP: &[&str] = &["app", "commands", "lib", "main", "simulated"];

/// Only these touch the cluster, and the top.
const KUBE: &[&str] = &["instances", "nodes"];

struct Source {
    /// From src/, with `/`.
    path: String,
    domain: String,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut found = Vec::new();
    collect(&src, &mut found);
    let read = |path: PathBuf| {
        let inside = path
            .strip_prefix(&src)
            .expect("below src")
            .to_str()
            .expect("a plain name")
            .replace('\\', "/");
        let domain = inside
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
            .to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        Source {
            path: inside,
            domain,
            code: without_comments(&text),
        }
    };
    found.into_iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names behind `crate::`, also inside one pair of braces.
fn imports(code: &str) -> BTreeSet<String> {
    let name = |text: &str| {
        text.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut found = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            None => _ = found.insert(name(behind)),
            Some(group) => found.extend(members(group).into_iter().map(|member| name(&member))),
        }
    }
    found.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    found
}

/// The members of a group that has just been opened.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut all) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => all.push(String::new()),
            _ => {}
        }
        if let Some(last) = all.last_mut()
            && c != ','
        {
            last.push(c);
        }
    }
    all.retain(|member| !member.trim().is_empty());
    all
}

fn is_allowed(domain: &str, target: &str) -> bool {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    if target == domain || TOP.contains(&domain) {
        return true;
    }
    if TOP.contains(&target) {
        return false;
    }
    if INFRASTRUCTURE.contains(&domain) {
        return INFRASTRUCTURE.contains(&target) || INFRASTRUCTURE_KNOWS.contains(&(domain, target));
    }
    if target == "kube" {
        return KUBE.contains(&domain);
    }
    INFRASTRUCTURE.contains(&target) || arrows.get(domain).is_some_and(|allowed| allowed.contains(&target))
}

#[test]
fn the_reader_finds_what_is_imported() {
    let code =
        "use crate::clock::Time;\nuse crate::{audit, db::{self, signal}, http::{a, b}};\nlet x = crate::kube::get();";
    let expected = ["audit", "clock", "db", "http", "kube"].map(str::to_owned);
    assert_eq!(imports(&without_comments(code)), expected.into());
    assert_eq!(
        imports(&without_comments("//! [`crate::app`]\n    // crate::live")),
        BTreeSet::new()
    );
    assert!(is_allowed("instances", "scheduling") && !is_allowed("scheduling", "instances"));
    assert!(!is_allowed("billing", "kube") && !is_allowed("http", "identity") && !is_allowed("live", "app"));
}

#[test]
fn every_part_of_src_is_in_the_table() {
    let known: BTreeSet<_> = ARROWS
        .iter()
        .map(|(domain, _)| *domain)
        .chain(INFRASTRUCTURE.iter().chain(TOP).copied())
        .collect();
    let sources = sources();
    assert!(sources.len() > 100, "src/ was not read");
    let unknown: BTreeSet<_> = sources
        .iter()
        .filter(|s| !known.contains(s.domain.as_str()))
        .map(|s| &s.path)
        .collect();
    assert!(unknown.is_empty(), "not in the table of arrows: {unknown:?}");
}

#[test]
fn nobody_imports_against_the_arrows() {
    let mut against = Vec::new();
    for source in sources() {
        let forbidden = imports(&source.code)
            .into_iter()
            .filter(|target| !is_allowed(&source.domain, target));
        against.extend(forbidden.map(|target| format!("src/{} → {target}", source.path)));
    }
    assert!(against.is_empty(), "{}", against.join("\n"));
}

#[test]
fn only_who_must_knows_the_engine_and_the_simulated_cluster() {
    // The engine's refusal passes through who asks for room; `lumbung simulate` is the engine without a server.
    let engine = ["app", "commands", "config", "instances", "scheduling", "subscriptions"];
    // Nothing that runs in production knows whether the cluster is real; `serve --simulate` is by `simulated`.
    let simulated = ["simulated.rs", "commands.rs", "commands/demo", "commands/simcluster.rs"];
    for source in sources() {
        let uses = |name: &str| {
            let path = format!("{name}::");
            let mut all = source.code.match_indices(&path).map(|(at, _)| &source.code[..at]);
            all.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        };
        let path = &source.path;
        assert!(
            !uses("placement") || engine.contains(&source.domain.as_str()),
            "src/{path} uses the engine"
        );
        assert!(
            !uses("simcluster") || simulated.iter().any(|beginning| path.starts_with(beginning)),
            "src/{path} uses the simulated cluster"
        );
    }
}

#[test]
fn the_engine_and_the_simulated_cluster_know_nothing_of_ours() {
    for (name, others) in [
        ("placement", ["lumbung", "simcluster"]),
        ("simcluster", ["lumbung", "placement"]),
    ] {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        for line in manifest.lines().map(str::trim) {
            let dependency = line.split(['.', '=', ' ']).next().unwrap_or_default();
            assert!(!others.contains(&dependency), "{name}/Cargo.toml: {line}");
        }
    }
}
