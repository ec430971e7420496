//! Names, labels and keys: what they may look like, in the words of the real server.

use serde_json::Value;

use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
'[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn edges_alphanumeric(text: &str) -> bool {
    let ok = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ok(text.chars().next()) && ok(text.chars().next_back())
}

pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63
        && edges_alphanumeric(text)
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

pub(super) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        edges_alphanumeric(part) && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty()
        || (text.len() <= 63
            && edges_alphanumeric(text)
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
}

/// A label or annotation key: a name of at most 63 characters, with or without a domain in front.
pub(super) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

fn too_long(field: &str, text: &str, most: usize) -> Option<Cause> {
    let cause = Cause { reason: "FieldValueTooLong", field: field.to_owned(), message: String::new() };
    let message = format!("Too long: may not be more than {most} bytes");
    (text.len() > most).then_some(Cause { message, ..cause })
}

pub(super) fn subdomain(field: &str, text: &str) -> Option<Cause> {
    (!is_subdomain(text)).then(|| Cause::invalid(field, &text.into(), SUBDOMAIN))
}

pub(super) fn label(field: &str, text: &str) -> Option<Cause> {
    too_long(field, text, 63).or_else(|| (!is_label(text)).then(|| Cause::invalid(field, &text.into(), LABEL)))
}

pub(super) fn dns_1035(field: &str, text: &str) -> Option<Cause> {
    let ok = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    (!ok).then(|| Cause::invalid(field, &text.into(), DNS_1035))
}

pub(super) fn labels(field: &str, labels: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        if !is_qualified(key) {
            causes.push(Cause::invalid(field, &key.as_str().into(), "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"));
        }
        if text.len() > 63 {
            causes.push(Cause::invalid(field, value, "must be no more than 63 bytes"));
        } else if !is_label_value(text) {
            causes.push(Cause::invalid(field, value, LABEL_VALUE));
        }
    }
}

/// The keys of a ConfigMap's or Secret's data.
pub(super) fn config_keys(field: &str, data: &Value, causes: &mut Vec<Cause>) {
    for key in data.as_object().into_iter().flat_map(|data| data.keys()) {
        let ok =
            !key.is_empty() && key.len() <= 253 && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !ok {
            causes.push(Cause::invalid(format!("{field}[{key}]"), &key.as_str().into(), CONFIG_KEY));
        }
    }
}
