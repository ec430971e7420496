//! The API's error answers: `Status` objects, with the texts and details that a real server gives.

use serde_json::{Value, json};

use crate::{dig::Dig, resource::Kind};

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
    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        Self { reason, field: field.into(), message }
    }

    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Self::new("FieldValueRequired", field, format!("Required value{why}"))
    }

    /// `value` is shown as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"))
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    pub fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known = known.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
        Self::new("FieldValueNotSupported", field, format!("Unsupported value: {value}: supported values: {known}"))
    }

    pub fn to_value(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None }
    }

    /// Says what it is about: an object of this kind, under the kind's name or its resource's.
    pub fn about(mut self, kind: &Kind, called: &str, name: &str) -> Self {
        let mut details = json!({"kind": called});
        for (field, text) in [("name", name), ("group", kind.group)] {
            if !text.is_empty() {
                details[field] = text.into();
            }
        }
        self.details = Some(details);
        self
    }

    pub fn with_causes(mut self, causes: impl IntoIterator<Item = Value>) -> Self {
        self.details.get_or_insert_with(|| json!({}))["causes"] = causes.into_iter().collect();
        self
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified())).about(kind, kind.plural, name)
    }

    /// `dying` is a name that is taken by an object on its way out.
    pub fn already_exists(kind: &Kind, name: &str, dying: bool) -> Self {
        let why = if dying { "object is being deleted: " } else { "" };
        let message = format!("{why}{} \"{name}\" already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).about(kind, kind.plural, name)
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, kind.plural, name)
    }

    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.qualified());
        Self::new(403, "Forbidden", message).about(kind, kind.plural, name)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(kind, (&kind.qualified_kind(), kind.kind), name, causes)
    }

    /// The same, said of the resource: what is wrong with how an object is written rather than with the object.
    pub fn invalid_resource(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(kind, (&kind.qualified(), kind.plural), name, causes)
    }

    fn invalid_as(kind: &Kind, (qualified, called): (&str, &str), name: &str, causes: &[Cause]) -> Self {
        let mut all: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        all.dedup();
        let why = if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) };
        let status = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {why}"));
        status.about(kind, called, name).with_causes(causes.iter().map(Cause::to_value))
    }

    /// A server-side apply that would take fields from other managers: (manager as shown, field path).
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let message = if let [(who, field)] = conflicts {
            format!("Apply failed with 1 conflict: conflict with {who}: {field}")
        } else {
            // Grouped by manager, each field on a line of its own.
            let groups = conflicts.chunk_by(|one, next| one.0 == next.0).map(|group| {
                let fields: Vec<&str> = group.iter().map(|(_, field)| field.as_str()).collect();
                format!("conflicts with {}:\n- {}", group[0].0, fields.join("\n- "))
            });
            let groups = groups.collect::<Vec<_>>().join("\n");
            format!("Apply failed with {} conflicts: {groups}", conflicts.len())
        };
        Self::new(409, "Conflict", message).with_causes(conflicts.iter().map(|(who, field)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {who}"), "field": field})
        }))
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// What this simulation does not do. Never a silent success.
    pub fn not_implemented(what: impl std::fmt::Display) -> Self {
        Self::new(501, "NotImplemented", format!("the simulated cluster does not support {what}"))
    }

    pub fn to_value(&self) -> Value {
        let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"});
        body.put("message", self.message.as_str());
        body.put("code", self.code);
        if !self.reason.is_empty() {
            body.put("reason", self.reason);
        }
        if let Some(details) = &self.details {
            body.put("details", details.clone());
        }
        body
    }
}
