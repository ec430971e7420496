//! An object as it is stored: its content, and beside it who owns which field, in a form that objects share.
//!
//! Controllers see the content alone; `metadata.managedFields` is written out when an object is served.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::{dig::Dig, fields::owners::Owners};

/// Clones share. Serialises as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub value: Arc<Value>,
    pub(crate) owners: Owners,
}

impl std::ops::Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl Object {
    /// The same at another revision.
    pub(crate) fn at_revision(&self, revision: u64) -> Self {
        let mut value = Value::clone(&self.value);
        value.put("metadata.resourceVersion", revision.to_string());
        Self { value: Arc::new(value), owners: self.owners.clone() }
    }

    /// As an item of a list: without its `kind` and `apiVersion`, which the list states.
    pub(crate) fn item(&self) -> impl Serialize {
        Part(self, "", &["kind", "apiVersion"])
    }

    pub(crate) fn metadata(&self) -> impl Serialize {
        Part(self, "metadata", &[])
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Part(self, "", &[]).serialize(serializer)
    }
}

/// The fields at a path, without some.
struct Part<'a>(&'a Object, &'static str, &'static [&'static str]);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(object, path, left_out) = self;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in object.fields(path).filter(|(name, _)| !left_out.contains(&name.as_str())) {
            if path.is_empty() && name == "metadata" {
                map.serialize_entry(name, &object.metadata())?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        let entries = object.owners.entries(object.text("apiVersion"));
        if *path == "metadata" && !entries.is_empty() {
            map.serialize_entry("managedFields", &entries)?;
        }
        map.end()
    }
}
