//! Label and field selectors, as clients write them in `labelSelector` and `fieldSelector`.
//!
//! Labels: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, joined by commas.
//! Fields: `path=value`, `path!=value`; which paths a kind knows is fixed, as on a real server.

use std::iter::Peekable;

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
    Above(i64),
    Below(i64),
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
        let labels = object.at("metadata.labels");
        self.labels.iter().all(|(key, test)| test.holds(labels.get(key).and_then(Value::as_str)))
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value?.parse::<i64>().ok();
        match self {
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::In(wanted, values) => value.is_some_and(|value| values.iter().any(|v| v == value)) == *wanted,
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
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
            "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase status.podIP \
             status.nominatedNodeName"
        }
        "Event" => {
            "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid \
             involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason \
             reportingComponent source type"
        }
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

const SIGNS: &str = "(),><=!";

/// The words and signs of a label selector.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut token = first.to_string();
        if "=!".contains(first) {
            token.extend(chars.next_if_eq(&'='));
        } else if first.is_whitespace() {
            continue;
        } else if !SIGNS.contains(first) {
            while let Some(next) = chars.next_if(|c| !c.is_whitespace() && !SIGNS.contains(*c)) {
                token.push(next);
            }
        }
        tokens.push(token);
    }
    tokens
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(|c| SIGNS.contains(c))
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, String> {
    let tokens = tokens(text);
    let mut at = tokens.iter().map(String::as_str).peekable();
    let mut requirements = Vec::new();
    while at.peek().is_some() {
        requirements.push(requirement(&mut at).map_err(|why| format!("unable to parse requirement: {why}"))?);
        match (at.next(), at.peek()) {
            (None, _) => break,
            (Some(","), Some(_)) => {}
            (Some(","), None) => return Err("found '', expected: identifier after ','".to_owned()),
            (Some(other), _) => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
    Ok(requirements)
}

fn requirement<'a>(at: &mut Peekable<impl Iterator<Item = &'a str>>) -> Result<(String, Test), String> {
    let absent = at.next_if_eq(&"!").is_some();
    let key = at.next().filter(|key| is_word(key)).map(ToOwned::to_owned);
    let key = key.ok_or("found a sign or nothing, expected: !, identifier, or 'end of string'")?;
    if absent || at.peek().is_none_or(|next| *next == ",") {
        return Ok((key, Test::Exists(!absent)));
    }
    let operator = at.next().unwrap_or_default();
    let test = match operator {
        "=" | "==" | "!=" => Test::In(operator != "!=", vec![word(at)]),
        "in" | "notin" => Test::In(operator == "in", set(at)?),
        ">" | "<" => {
            let bound = word(at);
            let why = format!("for 'Gt', 'Lt' operators, the value must be an integer: {bound}");
            let bound = bound.parse().map_err(|_| why)?;
            if operator == ">" { Test::Above(bound) } else { Test::Below(bound) }
        }
        other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    };
    Ok((key, test))
}

/// A value; none at all is the empty one.
fn word<'a>(at: &mut Peekable<impl Iterator<Item = &'a str>>) -> String {
    at.next_if(|token| is_word(token)).unwrap_or_default().to_owned()
}

fn set<'a>(at: &mut Peekable<impl Iterator<Item = &'a str>>) -> Result<Vec<String>, String> {
    at.next_if_eq(&"(").ok_or_else(|| format!("found '{}' expected: '('", at.peek().unwrap_or(&"")))?;
    let mut values = vec![word(at)];
    while at.next_if_eq(&",").is_some() {
        values.push(word(at));
    }
    at.next_if_eq(&")").ok_or_else(|| format!("found '{}', expected: ',' or ')'", at.peek().unwrap_or(&"")))?;
    Ok(values)
}
