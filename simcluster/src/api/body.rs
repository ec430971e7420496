//! Request bodies: JSON or YAML, of the kind that the URL names, with strict or lenient field validation.

use http::header;
use serde_json::{Value, json};

use super::{Ask, query::invalid_options};
use crate::{
    dig::Dig,
    normal,
    quantity::Malformed,
    resource::Kind,
    status::{Cause, Status},
    typed,
};

impl Ask<'_> {
    /// A parameter that has none of its values.
    fn unsupported(&self, parameter: &str, value: &Value, known: &[&str]) -> Status {
        let options = match self.verb {
            "create" => "CreateOptions",
            "patch" => "PatchOptions",
            "delete" => "DeleteOptions",
            _ => "UpdateOptions",
        };
        invalid_options(options, &[Cause::unsupported(parameter, value, known)])
    }

    pub(super) fn dry_run(&self) -> Result<bool, Status> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(self.unsupported("dryRun", &json!([other]), &["All"])),
        }
    }

    /// The media type of the body, without parameters.
    pub(super) fn media_type(&self) -> &str {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
        value.split(';').next().unwrap_or(value).trim()
    }

    /// The body of a create or update, and the warnings about its unknown fields.
    pub(super) fn object(&self) -> Result<(Value, Vec<String>), Status> {
        let kind = self.at.kind;
        let mut object = match self.media_type() {
            "application/json" => parse(&self.body, "object provided is unrecognized")?,
            "application/yaml" => yaml(&self.body)?,
            other => {
                let message = format!("the body of the request was in an unknown format: {other}");
                return Err(Status::new(415, "UnsupportedMediaType", message));
            }
        };
        if !object.is_object() {
            return Err(Status::bad_request("the body of the request is not an object"));
        }
        of_kind(kind, &object)?;
        normal::tidy(&mut object);
        let warnings = drop_unknown(self, &mut object, |_, why| undecodable(kind, kind.kind, kind.version, why))?;
        if normal::has_malformed_amount(&object) {
            return Err(undecodable(kind, kind.kind, kind.version, &Malformed.to_string()));
        }
        Ok((object, warnings))
    }
}

/// Takes away fields that the kind does not have, with a warning for each, or refuses the object, as the sender wishes.
pub(super) fn drop_unknown(
    ask: &Ask<'_>,
    object: &mut Value,
    refusal: impl Fn(&Value, &str) -> Status,
) -> Result<Vec<String>, Status> {
    let unknown = typed::unknown_fields(ask.at.kind, object).map_err(|why| refusal(object, &why))?;
    let mut warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    match ask.query.get("fieldValidation") {
        Some("Strict") if !warnings.is_empty() => {
            return Err(refusal(object, &format!("strict decoding error: {}", warnings.join(", "))));
        }
        None | Some("Strict" | "Warn") => {}
        Some("Ignore") => warnings.clear(),
        Some(other) => {
            return Err(ask.unsupported("fieldValidation", &other.into(), &["", "Ignore", "Strict", "Warn"]));
        }
    }
    normal::drop_paths(object, &unknown);
    Ok(warnings)
}

fn undecodable(kind: &Kind, sent: &str, version: &str, why: &str) -> Status {
    Status::bad_request(format!("{sent} in version \"{version}\" cannot be handled as a {}: {why}", kind.kind))
}

pub(super) fn parse(body: &[u8], what: &str) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|error| Status::bad_request(format!("{what}: {error}")))
}

pub(super) fn yaml(body: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|_| Status::bad_request("error decoding YAML: not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

/// `apiVersion` and `kind` may be absent, but not those of something else.
fn of_kind(kind: &Kind, object: &Value) -> Result<(), Status> {
    let own = kind.api_version();
    let (version, name) = (object["apiVersion"].as_str().unwrap_or(&own), object["kind"].as_str().unwrap_or(kind.kind));
    if version == own && name == kind.kind {
        return Ok(());
    }
    let why = format!("converting ({version}.{name}) to (core.{}): unknown conversion", kind.kind);
    Err(undecodable(kind, name, version, &why))
}

/// The body's own name and namespace must be those of the URL.
pub(super) fn of_address(ask: &Ask<'_>, object: &Value) -> Result<(), Status> {
    let (name, ns) = (object.text("metadata.name"), object.text("metadata.namespace"));
    if !name.is_empty() && !ask.name().is_empty() && name != ask.name() {
        let message = format!("the name of the object ({name}) does not match the name on the URL ({})", ask.name());
        return Err(Status::bad_request(message));
    }
    if !ns.is_empty() && ns != ask.ns() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    Ok(())
}
