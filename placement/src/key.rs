//! The names of nodes and workloads: 128-bit keys, so that a caller hands in its UUIDs and gets them back.
//!
//! Two types, because a node in the place of a workload would compile otherwise. They are written and read as
//! hyphenated UUID text: a 128-bit JSON number would lose its low digits in most clients.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl From<u128> for $name {
            fn from(value: u128) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                parse_uuid(&text).map(Self).ok_or_else(|| D::Error::custom("expected a hyphenated UUID"))
            }
        }
    };
}

key! {
    /// A worker node.
    NodeKey
}
key! {
    /// Workloads that should not crowd in one place: those of one owner, for instance.
    GroupKey
}
key! {
    /// A workload: one pod that has to run somewhere.
    WorkloadKey
}

/// Lengths of the groups of a UUID in hexadecimal digits (RFC 9562, section 4).
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

fn write_uuid(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digits = format!("{value:032x}");
    let mut rest = digits.as_str();
    for (i, length) in GROUPS.into_iter().enumerate() {
        let (group, tail) = rest.split_at(length);
        f.write_str(if i == 0 { "" } else { "-" })?;
        f.write_str(group)?;
        rest = tail;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Option<u128> {
    let groups: Vec<&str> = text.split('-').collect();
    let shaped = groups.len() == GROUPS.len() && groups.iter().zip(GROUPS).all(|(group, length)| group.len() == length);
    let hexadecimal = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if shaped && hexadecimal {
        u128::from_str_radix(&groups.concat(), 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_json_as_uuid_text() {
        let key = NodeKey(0x0192_f0c1_2345_7abc_8def_0123_4567_89ab);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, "\"0192f0c1-2345-7abc-8def-0123456789ab\"");
        assert_eq!(serde_json::from_str::<NodeKey>(&json).unwrap(), key);
    }

    #[test]
    fn text_that_is_no_uuid_is_refused() {
        for text in [
            "",
            "7",
            "0192f0c123457abc8def0123456789ab",
            "+192f0c1-2345-7abc-8def-0123456789ab",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<WorkloadKey>(&json).is_err(), "{text}");
        }
    }
}
