//! Request bodies: JSON or YAML, of the kind that the URL names, with strict or lenient field validation.

use http::header;
use serde_json::{Value, json};

use super::{Ask, query::invalid_options};
use crate::{
    dig::Dig,
    normal,
    quantity::Malformed,
    resource::{Kind, find_kind},
    status::{Cause, Status},
    typed,
};

/// How unknown fields are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validation {
    Ignore,
    Warn,
    Strict,
}

impl Ask<'_> {
    pub(super) fn validation(&self) -> Result<Validation, Status> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(Validation::Warn),
            Some("Strict") => Ok(Validation::Strict),
            Some("Ignore") => Ok(Validation::Ignore),
            Some(other) => {
                let known = ["", "Ignore", "Strict", "Warn"];
                let cause = Cause::unsupported("fieldValidation", &other.into(), &known);
                Err(invalid_options(self.options(), &[cause]))
            }
        }
    }

    /// How the options of this kind of write are called.
    fn options(&self) -> &'static str {
        match self.verb {
            "create" => "CreateOptions",
            "patch" => "PatchOptions",
            "delete" | "deletecollection" => "DeleteOptions",
            _ => "UpdateOptions",
        }
    }

    pub(super) fn dry_run(&self) -> Result<bool, Status> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let cause = Cause::unsupported("dryRun", &json!([other]), &["All"]);
                Err(invalid_options(self.options(), &[cause]))
            }
        }
    }

    /// The media type of the body, without parameters.
    pub(super) fn media_type(&self) -> &str {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
        value.split(';').next().unwrap_or(value).trim()
    }

    /// The body of a create or update, and the warnings about its unknown fields.
    pub(super) fn object(&self) -> Result<(Value, Vec<String>), Status> {
        let (kind, validation) = (self.at.kind, self.validation()?);
        let mut object = match self.media_type() {
            "application/json" => parse(&self.body, "object provided is unrecognized")?,
            "application/yaml" => yaml(&self.body)?,
            other => {
                let known = "accepted media types include: application/json, application/yaml";
                let message = format!("the body of the request was in an unknown format - {known} (got {other})");
                return Err(Status::unsupported_media_type(message));
            }
        };
        if !object.is_object() {
            return Err(Status::bad_request("the body of the request is not an object"));
        }
        of_kind(kind, &object)?;
        normal::tidy(&mut object);
        let unknown = typed::unknown_fields(kind, &object).map_err(|why| undecodable(kind, &why))?;
        if normal::has_malformed_amount(&object) {
            return Err(undecodable(kind, &Malformed.to_string()));
        }
        let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        normal::drop_paths(&mut object, &unknown);
        match validation {
            Validation::Strict if !warnings.is_empty() => {
                Err(undecodable(kind, &format!("strict decoding error: {}", warnings.join(", "))))
            }
            Validation::Ignore => Ok((object, Vec::new())),
            Validation::Strict | Validation::Warn => Ok((object, warnings)),
        }
    }
}

fn undecodable(kind: &Kind, why: &str) -> Status {
    let (name, version) = (kind.kind, kind.version);
    Status::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {name}: {why}"))
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
    let why = if version == own && find_kind(version, name).is_some() {
        format!("converting ({version}.{name}) to (core.{}): unknown conversion", kind.kind)
    } else {
        format!("no kind \"{name}\" is registered for version \"{version}\"")
    };
    Err(Status::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {}: {why}", kind.kind)))
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
