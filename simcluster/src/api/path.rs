//! What a URL path names.

use super::reply;
use crate::{
    access::Asked,
    resource::{self, Kind},
    status::Status,
};

/// A resource, an object of it, or a part of an object.
pub struct Address {
    pub kind: &'static Kind,
    /// `None` for cluster-scoped kinds and for lists over all namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Empty for the main resource.
    pub subresource: String,
}

impl Address {
    /// `None` for what is no resource; an error for what is none although its group exists.
    pub fn parse(steps: &[&str]) -> Result<Option<Self>, Status> {
        let (group, version, rest) = match steps {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Ok(None),
        };
        if !resource::has_group_version(group, version) {
            let group_exists = resource::ALL.iter().any(|kind| kind.group == group);
            return if group_exists { Err(reply::unknown_resource()) } else { Ok(None) };
        }
        // A namespace is addressed like its contents: only what follows tells them apart.
        let (namespace, rest) = match rest {
            [] => return Ok(None),
            ["namespaces", ns, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
                (Some((*ns).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, ""),
            [plural, name] => (plural, Some((*name).to_owned()), ""),
            [plural, name, subresource] => (plural, Some((*name).to_owned()), *subresource),
            _ => return Err(reply::unknown_resource()),
        };
        let in_scope =
            |kind: &Kind| if kind.namespaced { namespace.is_some() || name.is_none() } else { namespace.is_none() };
        let kind = resource::find(group, version, plural).filter(|kind| in_scope(kind));
        let kind = kind.ok_or_else(reply::unknown_resource)?;
        Ok(Some(Self { kind, namespace, name, subresource: subresource.to_owned() }))
    }

    /// What somebody wants who does this with it.
    pub fn asked(&self, verb: &str) -> Asked {
        Asked {
            verb: verb.to_owned(),
            group: self.kind.group.to_owned(),
            resource: self.kind.plural.to_owned(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone().unwrap_or_default(),
        }
    }
}
