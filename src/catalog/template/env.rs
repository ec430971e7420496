//! Environment variables of a container: where each value comes from.
//!
//! In YAML a value is a string (literal), or a map with exactly one of `secret`, `input`, `expr`. Numbers and booleans
//! are refused rather than guessed at: YAML's `yes`, `0777` and `1e3` are rarely what the application reads.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};

/// Variable name → value, in alphabetical order so that the same template renders the same manifest.
pub type EnvMap = BTreeMap<String, EnvValue>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    Literal(String),
    /// Key of a generated secret; reaches the container through the instance's Secret only.
    Secret(String),
    /// Key of an input that the customer filled in.
    Input(String),
    /// A minijinja template over [`super::Facts`].
    Expr(String),
}

impl Serialize for EnvValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = match self {
            Self::Literal(value) => return serializer.serialize_str(value),
            Self::Secret(key) => ("secret", key),
            Self::Input(key) => ("input", key),
            Self::Expr(source) => ("expr", source),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(kind, value)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvVisitor;

        impl<'de> Visitor<'de> for EnvVisitor {
            type Value = EnvValue;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a quoted string, or one of {secret: key}, {input: key}, {expr: template}")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Literal(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvValue, A::Error> {
                let Some((kind, value)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let parsed = match kind.as_str() {
                    "secret" => EnvValue::Secret(value),
                    "input" => EnvValue::Input(value),
                    "expr" => EnvValue::Expr(value),
                    other => return Err(de::Error::unknown_field(other, &["secret", "input", "expr"])),
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("give exactly one of secret, input, expr"));
                }
                Ok(parsed)
            }
        }

        deserializer.deserialize_any(EnvVisitor)
    }
}
