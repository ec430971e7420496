//! Comparing an answer with a recorded one: placeholders are bound at first sight and must mean the same from then on.

use std::collections::BTreeMap;

use serde_json::Value;

/// What placeholders have come to mean in one transcript, and how many times have been sent.
#[derive(Clone, Default)]
pub struct Bindings(BTreeMap<String, String>, u64);

/// Managers that play the cluster's own part; how often and through what they write is not compared.
const CONTROLLERS: [&str; 6] =
    ["hollow", "kube-controller-manager", "kube-scheduler", "default-scheduler", "kubelet", "k3s"];

impl Bindings {
    /// Replaces placeholders in what is to be sent; unknown revisions become `revision`.
    pub fn fill(&mut self, text: &str, revision: u64) -> String {
        let Some((before, name, after)) = next_placeholder(text) else {
            return text.to_owned();
        };
        let value = match self.0.get(name) {
            Some(value) => value.clone(),
            None if name.starts_with("rv-") => {
                self.0.insert(name.to_owned(), revision.to_string());
                revision.to_string()
            }
            // Each time that is sent is another one, as it was when it was recorded.
            None if name.ends_with("time") => {
                self.1 += 1;
                format!("2026-11-24T00:{:02}:{:02}.000000Z", self.1 / 60, self.1 % 60)
            }
            None if name.starts_with("clusterIP") => "10.43.200.200".to_owned(),
            None => format!("<{name}>"),
        };
        format!("{before}{value}{}", self.fill(after, revision))
    }

    /// The differences between a recorded and an actual value, each with its path.
    pub fn differences(&mut self, path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
        match (expected, actual) {
            (Value::String(list), Value::Array(entries)) if list.starts_with("<trimmed: ") => {
                let (expected, actual) = managers(list, entries);
                if expected != actual {
                    found.push(format!("{path}: expected managers {expected:?}, got {actual:?}"));
                }
            }
            (Value::Object(expected), Value::Object(actual)) => {
                // A trimmed item shows nothing of its metadata but the name.
                let partial = expected.contains_key("...");
                for (key, value) in expected.iter().filter(|(key, _)| *key != "...") {
                    match actual.get(key) {
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
            (Value::Array(all), Value::Array(others)) if all.len() == others.len() => {
                let (mut all, mut others) = (all.clone(), others.clone());
                if path.ends_with(".managedFields") {
                    // Owners are in the order of their last second, which is timing.
                    let owner = |entry: &Value| ["operation", "manager", "subresource"].map(|of| entry[of].to_string());
                    all.sort_by_key(owner);
                    others.sort_by_key(owner);
                }
                for (at, (expected, actual)) in all.iter().zip(&others).enumerate() {
                    self.differences(&format!("{path}[{at}]"), expected, actual, found);
                }
            }
            (Value::String(pattern), Value::String(text)) if self.matches(pattern, text) => {}
            (Value::String(pattern), Value::Number(number)) if self.matches(pattern, &number.to_string()) => {}
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
            if !name.ends_with("time") && name != "jwt" {
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

/// The managers that a trimmed `managedFields` shows, and those of an actual one.
fn managers(trimmed: &str, entries: &[Value]) -> (Vec<String>, Vec<String>) {
    let part = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let shown = |entry: &Value| {
        let parts = ["manager", "operation", "subresource"].map(|field| part(entry, field));
        parts.join("/").trim_end_matches('/').to_owned()
    };
    let list = trimmed.trim_start_matches("<trimmed: ").trim_end_matches('>').split(", ").map(ToOwned::to_owned);
    let mut lists = [list.collect::<Vec<_>>(), entries.iter().map(shown).collect()];
    for list in &mut lists {
        list.retain(|manager| !CONTROLLERS.contains(&manager.split('/').next().unwrap_or_default()));
        list.sort();
    }
    lists.into()
}

/// The characters that a placeholder's value can have.
fn allowed(name: &str, c: char) -> bool {
    match name.split('-').next().unwrap_or_default() {
        "rv" | "nodePort" => c.is_ascii_digit(),
        "uid" => c.is_ascii_hexdigit() || c == '-',
        "time" | "microtime" | "nanotime" => c.is_ascii_digit() || "TZ:-.+".contains(c),
        "clusterIP" | "podIP" => c.is_ascii_digit() || c == '.',
        _ => c.is_ascii_alphanumeric() || "-_=.".contains(c),
    }
}

/// The text before the first placeholder, its name, and the text after it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    const KINDS: &str =
        "uid rv time microtime nanotime sfx hash evt clusterIP podIP nodePort container continue pem jwt";
    text.match_indices('<').find_map(|(start, _)| {
        let (name, after) = text[start + 1..].split_once('>')?;
        let kind = name.split('-').next().unwrap_or_default();
        (!name.contains(' ') && KINDS.split(' ').any(|known| known == kind)).then_some((&text[..start], name, after))
    })
}
