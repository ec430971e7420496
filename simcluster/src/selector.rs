//! Label and field selectors, as clients write them in `labelSelector` and `fieldSelector`.
//!
//! Labels: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, joined by commas.
//! Fields: `path=value`, `path!=value`; which paths a kind knows is fixed, as on a real server.

use serde_json::Value;

use crate::{dig::Dig, resource::Kind, status::Status};

/// What a list or watch is narrowed to. The default matches everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(&'static str, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists(bool),
    In(bool, Vec<String>),
}

impl Selector {
    pub fn parse(kind: &Kind, labels: Option<&str>, fields: Option<&str>) -> Result<Self, Status> {
        let labels = parse_labels(labels.unwrap_or_default()).map_err(Status::bad_request)?;
        Ok(Self { labels, fields: parse_fields(kind, fields.unwrap_or_default()).map_err(Status::bad_request)? })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &String| object.at("metadata.labels").get(key).and_then(Value::as_str);
        self.labels.iter().all(|(key, test)| test.holds(label(key)))
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::In(wanted, values) => value.is_some_and(|value| values.iter().any(|v| v == value)) == *wanted,
        }
    }
}

/// The value at a path as field selectors see it: absent is empty.
fn field(object: &Value, path: &str) -> String {
    match object.at(path) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Beside the name and the namespace.
fn known_fields(kind: &Kind) -> impl Iterator<Item = &'static str> {
    let own = match kind.kind {
        "Pod" => {
            "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase status.podIP"
        }
        "Event" => "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid reason type",
        "Namespace" => "status.phase",
        "Node" => "spec.unschedulable",
        "Secret" => "type",
        _ => "",
    };
    let everybodys = if kind.namespaced { "metadata.name metadata.namespace" } else { "metadata.name" };
    everybodys.split(' ').chain(own.split_whitespace())
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(&'static str, bool, String)>, String> {
    let term = |term: &str| {
        let split = |sign| term.split_once(sign);
        let unequal = split("!=");
        let (path, value) = unequal
            .or_else(|| split("==").or_else(|| split("=")))
            .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
        let known = known_fields(kind).find(|known| *known == path).ok_or_else(|| {
            let all: Vec<String> = known_fields(kind).map(|known| format!("\"{known}\"")).collect();
            format!("\"{path}\" is not a known field selector: only {}", all.join(", "))
        })?;
        Ok((known, unequal.is_none(), value.to_owned()))
    };
    text.split(',').filter(|term| !term.is_empty()).map(term).collect()
}

/// Splits at the commas that are not in brackets.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let separates = move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(separates).map(str::trim)
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, String> {
    if text.trim().is_empty() { Ok(Vec::new()) } else { terms(text).map(requirement).collect() }
}

fn requirement(term: &str) -> Result<(String, Test), String> {
    let (key, test) = if let Some(key) = term.strip_prefix('!') {
        (key, Test::Exists(false))
    } else if let Some((key, operator, values)) = [" notin ", " in "].iter().find_map(|operator| {
        let (key, values) = term.split_once(operator)?;
        Some((key, *operator, values.trim()))
    }) {
        let inner = values.strip_prefix('(').and_then(|values| values.strip_suffix(')'));
        let inner = inner.ok_or_else(|| format!("unable to parse requirement: found '{values}' expected: '('"))?;
        (key, Test::In(operator == " in ", inner.split(',').map(|value| value.trim().to_owned()).collect()))
    } else if let Some((key, value)) = term.split_once("!=") {
        (key, Test::In(false, vec![word(value)?]))
    } else if let Some((key, value)) = term.split_once('=') {
        (key, Test::In(true, vec![word(value.strip_prefix('=').unwrap_or(value))?]))
    } else {
        (term, Test::Exists(true))
    };
    let key = word(key)?;
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("unable to parse requirement: found '{key}', expected: !, identifier, or 'end of string'"));
    }
    Ok((key, test))
}

/// A key or a value; none at all is the empty one.
fn word(text: &str) -> Result<String, String> {
    match text.chars().find(|c| "(),><=!".contains(*c)) {
        Some(sign) => Err(format!("found '{sign}', expected: ',' or 'end of string'")),
        None => Ok(text.trim().to_owned()),
    }
}
