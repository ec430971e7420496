//! The API's error answers: `Status` objects, with the texts and details that a real server gives.

use serde_json::{Map, Value, json};

use crate::resource::Kind;

/// A refused request. `code` is the HTTP status; an empty `reason` is left out of the body, as a real server does for
/// some of its 500s.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u32>,
    /// A continue token that goes on inconsistently, beside an expired one.
    pub continue_token: Option<String>,
}

/// One reason why an object is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: &'static str,
    pub field: String,
    /// Without the field path in front.
    pub message: String,
}

impl Cause {
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// `value` is shown as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", field: field.into(), message: format!("Duplicate value: {value}") }
    }

    pub fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known = known.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {value}: supported values: {known}");
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None, continue_token: None }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !kind.group.is_empty() {
            details.insert("group".into(), kind.group.into());
        }
        details.insert("kind".into(), kind.plural.into());
        self.details = Some(Value::Object(details));
        self
    }

    fn with_causes(mut self, causes: Vec<Value>) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["causes"] = Value::Array(causes);
        self
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified())).about(kind, name)
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", kind.qualified())).about(kind, name)
    }

    /// The name is taken by an object that is on its way out.
    pub fn being_deleted(kind: &Kind, name: &str) -> Self {
        let message = format!("object is being deleted: {} \"{name}\" already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} \"{name}\" is forbidden: {why}", kind.qualified())).about(kind, name)
    }

    /// Creation in a namespace that is being deleted.
    pub fn namespace_terminating(kind: &Kind, name: &str, ns: &str) -> Self {
        let why = format!("unable to create new content in namespace {ns} because it is being terminated");
        Self::forbidden(kind, name, &why).with_causes(vec![json!({
            "reason": "NamespaceTerminating",
            "message": format!("namespace {ns} is being terminated"),
            "field": "metadata.namespace",
        })])
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut all: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        all.dedup();
        let why = if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) };
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !kind.group.is_empty() {
            details.insert("group".into(), kind.group.into());
        }
        details.insert("kind".into(), kind.kind.into());
        let causes =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        let mut status = Self::new(422, "Invalid", format!("{} \"{name}\" is invalid: {why}", kind.qualified_kind()));
        status.details = Some(Value::Object(details));
        status.with_causes(causes)
    }

    /// The same, said of the resource: what is wrong with how an object is written rather than with the object.
    pub fn invalid_resource(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut status = Self::invalid(kind, name, causes);
        status.message = status.message.replacen(&kind.qualified_kind(), &kind.qualified(), 1);
        if let Some(details) = &mut status.details {
            details["kind"] = kind.plural.into();
        }
        status
    }

    /// A server-side apply that would take fields from other managers: (manager as shown, field path).
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let shown: Vec<String> = conflicts.iter().map(|(who, field)| format!("conflict with {who}: {field}")).collect();
        let message = match shown.as_slice() {
            [one] => format!("Apply failed with 1 conflict: {one}"),
            many => apply_conflicts_text(many.len(), conflicts),
        };
        let causes = conflicts.iter().map(|(who, field)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {who}"), "field": field})
        });
        Self::new(409, "Conflict", message).with_causes(causes.collect())
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// What this simulation does not do. Never a silent success.
    pub fn not_implemented(what: impl std::fmt::Display) -> Self {
        Self::new(501, "NotImplemented", format!("the simulated cluster does not support {what}"))
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        if let Some(token) = &self.continue_token {
            body["metadata"]["continue"] = token.as_str().into();
        }
        body
    }
}

/// Several conflicts are grouped by manager, each field on a line of its own.
fn apply_conflicts_text(count: usize, conflicts: &[(String, String)]) -> String {
    let mut text = format!("Apply failed with {count} conflicts:");
    let mut last = None;
    for (who, field) in conflicts {
        if last != Some(who) {
            text.push_str(if last.is_none() { " " } else { "\n" });
            text.extend(["conflicts with ", who, ":"]);
            last = Some(who);
        }
        text.extend(["\n- ", field]);
    }
    text
}
