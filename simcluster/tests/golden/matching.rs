//! Comparing an answer with a recorded one: placeholders are bound at first sight and must mean the same from then on.

use std::collections::BTreeMap;

use serde_json::Value;

/// What placeholders have come to mean in one transcript.
#[derive(Clone, Default)]
pub struct Bindings(BTreeMap<String, String>, u64);

/// Managers that play the cluster's own part; how often and through what they write is not compared.
const CONTROLLERS: [&str; 6] =
    ["hollow", "kube-controller-manager", "kube-scheduler", "default-scheduler", "kubelet", "k3s"];

impl Bindings {
    /// Replaces placeholders in what is to be sent; unknown revisions become `revision`.
    pub fn fill(&mut self, text: &str, revision: u64) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_placeholder(rest) {
            filled.push_str(before);
            match self.0.get(name) {
                Some(value) => filled.push_str(value),
                None if name.starts_with("rv-") => {
                    self.0.insert(name.to_owned(), revision.to_string());
                    filled.push_str(&revision.to_string());
                }
                // Each time that is sent is another one, as it was when it was recorded.
                None if name.ends_with("time") => {
                    self.1 += 1;
                    let time = format!("2026-11-24T00:{:02}:{:02}.000000Z", self.1 / 60, self.1 % 60);
                    filled.push_str(&time);
                }
                None if name.starts_with("clusterIP") => filled.push_str("10.43.200.200"),
                None => filled.extend(["<", name, ">"]),
            }
            rest = after;
        }
        filled + rest
    }

    /// Whether, of the revisions that answers to writes have shown, the older-ranked is also the smaller number.
    pub fn in_order(&self, written: &[String]) -> Result<(), String> {
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let mut ranked: Vec<(u64, u64)> = self
            .0
            .iter()
            .filter(|(name, _)| written.iter().any(|shown| shown.trim_matches(['<', '>']) == name.as_str()))
            .filter_map(|(name, value)| Some((number(name.strip_prefix("rv-")?), number(value))))
            .collect();
        ranked.sort_unstable();
        match ranked.windows(2).find(|pair| pair[0].1 > pair[1].1) {
            None => Ok(()),
            Some(pair) => Err(format!("<rv-{}> is {} but <rv-{}> is {}", pair[0].0, pair[0].1, pair[1].0, pair[1].1)),
        }
    }

    /// The differences between a recorded and an actual value, each with its path.
    pub fn differences(&mut self, path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
        match (expected, actual) {
            (Value::String(list), Value::Array(entries)) if list.starts_with("<trimmed: ") => {
                managers(path, list, entries, found);
            }
            (Value::Object(expected), Value::Object(actual)) => {
                let partial = expected.contains_key("...");
                for (key, value) in expected.iter().filter(|(key, _)| *key != "...") {
                    match actual.get(key) {
                        // A trimmed item shows nothing of its metadata but the name.
                        Some(actual) if partial && key == "metadata" => {
                            self.differences(&format!("{path}.name"), &value["name"], &actual["name"], found);
                        }
                        Some(actual) => self.differences(&format!("{path}.{key}"), value, actual, found),
                        None => found.push(format!("{path}.{key} is missing, expected {value}")),
                    }
                }
                let extra = actual.keys().filter(|key| !partial && !expected.contains_key(*key));
                found.extend(extra.map(|key| format!("{path}.{key} is unexpected: {}", actual[key])));
            }
            (Value::Array(expected), Value::Array(actual)) => {
                let (mut expected, mut actual) = (expected.clone(), actual.clone());
                if path.ends_with(".managedFields") {
                    // Owners are in the order of their last second, which is timing.
                    expected.sort_by_key(owner);
                    actual.sort_by_key(owner);
                }
                if expected.len() != actual.len() {
                    let (expected, actual) = (Value::from(expected), Value::from(actual));
                    found.push(format!("{path} has another length: expected {expected}, got {actual}"));
                    return;
                }
                for (at, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                    self.differences(&format!("{path}[{at}]"), expected, actual, found);
                }
            }
            (Value::String(pattern), Value::String(text)) => {
                if !self.matches(pattern, text) {
                    found.push(format!("{path}: expected {pattern:?}, got {text:?}"));
                }
            }
            (Value::String(pattern), Value::Number(number)) if pattern.starts_with("<nodePort") => {
                if !self.matches(pattern, &number.to_string()) {
                    found.push(format!("{path}: expected {pattern}, got {number}"));
                }
            }
            (expected, actual) if expected == actual => {}
            (expected, actual) => found.push(format!("{path}: expected {expected}, got {actual}")),
        }
    }

    fn matches(&mut self, pattern: &str, text: &str) -> bool {
        let Some((before, name, after)) = next_placeholder(pattern) else {
            return pattern == text;
        };
        let Some(rest) = text.strip_prefix(before) else {
            return false;
        };
        if let Some(known) = self.0.get(name).cloned() {
            return rest.strip_prefix(known.as_str()).is_some_and(|rest| self.matches(after, rest));
        }
        let longest = rest.find(|c: char| !allowed(name, c)).unwrap_or(rest.len());
        for end in (1..=longest).rev() {
            let saved = self.0.clone();
            if !name.ends_with("time") {
                self.0.insert(name.to_owned(), rest[..end].to_owned());
            }
            if self.matches(after, &rest[end..]) {
                return true;
            }
            self.0 = saved;
        }
        false
    }
}

/// Compares the list of managers that a trimmed `managedFields` shows.
fn managers(path: &str, trimmed: &str, entries: &[Value], found: &mut Vec<String>) {
    let mine = |manager: &str| !CONTROLLERS.contains(&manager.split('/').next().unwrap_or_default());
    let list = trimmed.trim_start_matches("<trimmed: ").trim_end_matches('>');
    let mut expected: Vec<String> = list.split(", ").filter(|m| mine(m)).map(ToOwned::to_owned).collect();
    let shown = |entry: &Value| {
        let part = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let (manager, sub) = (format!("{}/{}", part("manager"), part("operation")), part("subresource"));
        if sub.is_empty() { manager } else { format!("{manager}/{sub}") }
    };
    let mut actual: Vec<String> = entries.iter().map(shown).filter(|m| mine(m)).collect();
    expected.sort();
    actual.sort();
    if expected != actual {
        found.push(format!("{path}: expected managers {expected:?}, got {actual:?}"));
    }
}

fn owner(entry: &Value) -> [String; 3] {
    ["operation", "manager", "subresource"].map(|field| entry[field].to_string())
}

/// The characters that a placeholder's value can have.
fn allowed(name: &str, c: char) -> bool {
    let kind = name.split('-').next().unwrap_or_default();
    match kind {
        "rv" | "nodePort" => c.is_ascii_digit(),
        "uid" => c.is_ascii_hexdigit() || c == '-',
        "time" | "microtime" | "nanotime" => c.is_ascii_digit() || "TZ:-.+".contains(c),
        "clusterIP" | "podIP" => c.is_ascii_digit() || c == '.',
        _ => c.is_ascii_alphanumeric() || "-_=".contains(c),
    }
}

/// The text before the first placeholder, its name, and the text after it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    const KINDS: [&str; 14] = [
        "uid-",
        "rv-",
        "time",
        "microtime",
        "nanotime",
        "sfx-",
        "hash-",
        "evt-",
        "clusterIP-",
        "podIP-",
        "nodePort-",
        "container",
        "continue-",
        "pem",
    ];
    let mut from = 0;
    while let Some(start) = text[from..].find('<').map(|at| at + from) {
        let end = text[start..].find('>')? + start;
        let name = &text[start + 1..end];
        if KINDS.iter().any(|kind| name.starts_with(kind)) && !name.contains(' ') {
            return Some((&text[..start], name, &text[end + 1..]));
        }
        from = start + 1;
    }
    None
}
