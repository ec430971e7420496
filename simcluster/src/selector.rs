//! Label and field selectors, as clients write them in `labelSelector` and `fieldSelector`.
//!
//! Labels: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, joined by commas.
//! Fields: `path=value`, `path!=value`; which paths a kind knows is fixed, as on a real server.

use serde_json::Value;

use crate::{resource::Kind, status::Status};

/// What a list or watch is narrowed to. The default matches everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(&'static str, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Selector {
    pub fn parse(kind: &Kind, labels: Option<&str>, fields: Option<&str>) -> Result<Self, Status> {
        let labels = parse_labels(labels.unwrap_or_default()).map_err(Status::bad_request)?;
        Ok(Self { labels, fields: parse_fields(kind, fields.unwrap_or_default())? })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| requirement.matches(labels[&requirement.key].as_str()))
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = |value: &str| value.parse::<i64>().ok();
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Test::Above(bound) => value.and_then(number).is_some_and(|v| v > *bound),
            Test::Below(bound) => value.and_then(number).is_some_and(|v| v < *bound),
        }
    }
}

/// The value at a dotted path as field selectors see it: absent is empty.
fn field(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |at, step| &at[step]);
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn known_fields(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "Pod" => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Namespace" => &["metadata.name", "status.phase"],
        "Node" => &["metadata.name", "spec.unschedulable"],
        "Secret" => &["metadata.name", "metadata.namespace", "type"],
        _ if kind.namespaced => &["metadata.name", "metadata.namespace"],
        _ => &["metadata.name"],
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(&'static str, bool, String)>, Status> {
    let mut fields = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (path, true, value)
        } else {
            return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'")));
        };
        let known = known_fields(kind);
        let Some(known) = known.iter().find(|k| **k == path) else {
            let all: Vec<String> = known.iter().map(|k| format!("\"{k}\"")).collect();
            let message = format!("\"{path}\" is not a known field selector: only {}", all.join(", "));
            return Err(Status::bad_request(message));
        };
        fields.push((*known, equal, value.to_owned()));
    }
    Ok(fields)
}

/// The words and signs of a label selector.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '(' | ')' | ',' | '>' | '<' => tokens.push(c.to_string()),
            '=' | '!' => {
                let double = chars.next_if_eq(&'=').is_some();
                tokens.push(if double { format!("{c}=") } else { c.to_string() });
            }
            _ => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| !" \t\r\n(),><=!".contains(*c)) {
                    word.push(c);
                }
                tokens.push(word);
            }
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !["(", ")", ",", ">", "<", "=", "==", "!", "!="].contains(&token)
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    let tokens = tokens(text);
    let mut at = tokens.iter().map(String::as_str).peekable();
    let mut requirements = Vec::new();
    while at.peek().is_some() {
        requirements.push(requirement(&mut at).map_err(|why| format!("unable to parse requirement: {why}"))?);
        match at.next() {
            None => break,
            Some(",") => {
                if at.peek().is_none() {
                    return Err("found '', expected: identifier after ','".to_owned());
                }
            }
            Some(other) => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
    Ok(requirements)
}

fn requirement<'a>(at: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Requirement, String> {
    let absent = at.next_if_eq(&"!").is_some();
    let key = at.next().unwrap_or_default();
    if !is_word(key) {
        return Err(format!("found '{key}', expected: !, identifier, or 'end of string'"));
    }
    let key = key.to_owned();
    if absent {
        return Ok(Requirement { key, test: Test::Absent });
    }
    let operator = match at.peek() {
        None | Some(&",") => {
            return Ok(Requirement { key, test: Test::Exists });
        }
        Some(operator) => *operator,
    };
    at.next();
    let test = match operator {
        "=" | "==" => Test::In(vec![word(at)]),
        "!=" => Test::NotIn(vec![word(at)]),
        ">" | "<" => {
            let bound = word(at);
            let bound = bound
                .parse()
                .map_err(|_| format!("for 'Gt', 'Lt' operators, the value must be an integer: {bound}"))?;
            if operator == ">" { Test::Above(bound) } else { Test::Below(bound) }
        }
        "in" => Test::In(set(at)?),
        "notin" => Test::NotIn(set(at)?),
        other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    };
    Ok(Requirement { key, test })
}

/// A value; none at all is the empty one.
fn word<'a>(at: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> String {
    at.next_if(|token| is_word(token)).unwrap_or_default().to_owned()
}

fn set<'a>(at: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Vec<String>, String> {
    let open = at.next().unwrap_or_default();
    if open != "(" {
        return Err(format!("found '{open}' expected: '('"));
    }
    let mut values = vec![word(at)];
    loop {
        match at.next() {
            Some(",") => values.push(word(at)),
            Some(")") => return Ok(values),
            other => return Err(format!("found '{}', expected: ',' or ')'", other.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource;

    fn matches(selector: &str, labels: Value) -> bool {
        let object = json!({"metadata": {"labels": labels}});
        Selector::parse(&resource::CONFIG_MAP, Some(selector), None).unwrap().matches(&object)
    }

    #[test]
    fn label_operators() {
        for (selector, expected) in [
            ("", true),
            ("a", true),
            ("!a", false),
            ("!z", true),
            ("a=1", true),
            ("a==1", true),
            ("a=2", false),
            ("a!=2", true),
            ("z!=2", true),
            ("a in (1, 2)", true),
            ("a notin (1,2)", false),
            ("z notin (1,2)", true),
            ("a>0", true),
            ("a<1", false),
            ("a=1,b", true),
            ("a=1,b=", false),
            ("app.kubernetes.io/name=n8n", true),
        ] {
            let labels = json!({"a": "1", "b": "x", "app.kubernetes.io/name": "n8n"});
            assert_eq!(matches(selector, labels), expected, "{selector}");
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for selector in ["a=b=c", "a in 1", "a,", "a in (1", "=", "a>x"] {
            let error = Selector::parse(&resource::POD, Some(selector), None).unwrap_err();
            assert_eq!(error.code, 400, "{selector}");
        }
        assert_eq!(Selector::parse(&resource::POD, None, Some("spec.x=1")).unwrap_err().code, 400);
    }

    #[test]
    fn fields_compare_absent_as_empty() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {}});
        let selects = |text| Selector::parse(&resource::POD, None, Some(text)).unwrap().matches(&pod);
        assert!(selects("spec.nodeName="));
        assert!(!selects("spec.nodeName!="));
        assert!(selects("metadata.name=p,spec.nodeName!=n1"));
    }
}
