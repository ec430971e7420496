//! The instance's Secret: every generated value by its key.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{Input, meta};

/// `data`, not `stringData`: the server keeps ownership of the latter under its own name and would not drop a key that
/// we no longer apply.
pub fn secret(input: &Input<'_>) -> Secret {
    let data = input
        .secrets
        .iter()
        .map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes())));
    Secret {
        metadata: meta::object_meta(input, input.instance.name.clone()),
        data: Some(data.collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
