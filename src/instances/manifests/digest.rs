//! What a pod reads only when it starts, as one short text in its template: a changed secret or config file makes a new
//! revision, an unchanged one does not.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodSpec;

use super::{Error, Input, config};
use crate::crypto;

/// Only the secrets that this pod reads count: one that a task alone uses is no reason to restart the service.
pub fn digest(input: &Input<'_>, pod: &PodSpec) -> Result<String, Error> {
    let mut text = String::new();
    // Length before content: no shifting of a border between two values gives the same text.
    let mut add = |part: &str| {
        text.push_str(&part.len().to_string());
        text.push(':');
        text.push_str(part);
    };
    for key in secret_keys(pod) {
        add(key);
        add(input.secrets.get(key).map_or("", String::as_str));
    }
    for (key, content) in config::contents(input)? {
        add(&key);
        add(&content);
    }
    Ok(crypto::encode_hex(&crypto::sha256(text.as_bytes())[..16]))
}

fn secret_keys(pod: &PodSpec) -> BTreeSet<&str> {
    let init = pod.init_containers.iter().flatten();
    init.chain(&pod.containers)
        .flat_map(|container| container.env.iter().flatten())
        .filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref())
        .map(|reference| reference.key.as_str())
        .collect()
}
