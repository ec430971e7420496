//! What a URL path names.

use crate::resource::{self, Kind};

/// A resource, an object of it, or a part of an object.
#[derive(Clone, Debug)]
pub struct Address {
    pub kind: &'static Kind,
    /// `None` for cluster-scoped kinds and for lists over all namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Empty for the main resource.
    pub subresource: String,
}

/// Everything that a path can be.
#[derive(Clone, Debug)]
pub enum Target {
    Root,
    Version,
    /// `healthz`, `livez`, `readyz`, with any of their parts.
    Health,
    OpenApi,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/{group}`
    Group(String),
    /// `/api/v1` or `/apis/{group}/{version}`
    Resources(String, String),
    Resource(Address),
    /// A group and version that exist, a resource or subresource that does not: a Status 404.
    UnknownResource,
    /// Anything else: a plain 404.
    Nothing,
}

impl Target {
    pub fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => Self::Root,
            ["version"] => Self::Version,
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["openapi", ..] => Self::OpenApi,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["api", version, rest @ ..] => Self::under("", version, rest),
            ["apis", group] if resource::ALL.iter().any(|k| k.group == *group) => Self::Group((*group).to_owned()),
            ["apis", group, version, rest @ ..] => Self::under(group, version, rest),
            _ => Self::Nothing,
        }
    }

    fn under(group: &str, version: &str, rest: &[&str]) -> Self {
        if !resource::has_group_version(group, version) {
            let group_exists = resource::ALL.iter().any(|k| k.group == group);
            return if group_exists { Self::UnknownResource } else { Self::Nothing };
        }
        let owned = |text: &str| Some(text.to_owned());
        let find = |plural: &str| resource::find(group, version, plural);
        let (kind, namespace, name, subresource) = match rest {
            [] => return Self::Resources(group.to_owned(), version.to_owned()),
            ["namespaces", ns, plural] if find(plural).is_some_and(|k| k.namespaced) => {
                (find(plural), owned(ns), None, "")
            }
            ["namespaces", ns, plural, name] if find(plural).is_some_and(|k| k.namespaced) => {
                (find(plural), owned(ns), owned(name), "")
            }
            ["namespaces", ns, plural, name, sub] => (find(plural), owned(ns), owned(name), *sub),
            [plural] => (find(plural), None, None, ""),
            [plural, name] => (find(plural), None, owned(name), ""),
            [plural, name, sub] => (find(plural), None, owned(name), *sub),
            _ => (None, None, None, ""),
        };
        let Some(kind) = kind else { return Self::UnknownResource };
        let scoped = if kind.namespaced { namespace.is_some() || name.is_none() } else { namespace.is_none() };
        if !scoped {
            return Self::UnknownResource;
        }
        Self::Resource(Address { kind, namespace, name, subresource: subresource.to_owned() })
    }
}
