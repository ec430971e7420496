//! Query parameters. Those that are not known here are answered 501, so that none is silently without effect.

use http::Uri;

use crate::{
    resource::{CONFIG_MAP, Kind},
    selector::Selector,
    status::{Cause, Status},
};

/// The parameters of one request, as text.
pub struct Query(Vec<(String, String)>);

const KNOWN: &str = "allowWatchBookmarks container continue dryRun fieldManager fieldSelector fieldValidation follow force \
                     gracePeriodSeconds labelSelector limit pretty previous propagationPolicy resourceVersion \
                     resourceVersionMatch sendInitialEvents sinceSeconds tailLines timeout timeoutSeconds timestamps watch";

impl Query {
    pub fn parse(uri: &Uri) -> Result<Self, Status> {
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let all = parsed.map_err(|error| Status::bad_request(error.body_text()))?.0;
        match all.iter().find(|(name, _)| !KNOWN.split(' ').any(|known| known == name)) {
            Some((name, _)) => Err(Status::not_implemented(format_args!("the parameter {name}"))),
            None => Ok(Self(all)),
        }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter; empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A switch: present and neither `0` nor `false`.
    pub fn flag(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let parse = |text: &str| {
            let why = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            text.parse::<i64>().map_err(|_| Status::bad_request(why))
        };
        self.get(name).map(parse).transpose()
    }

    pub fn selector(&self, kind: &Kind) -> Result<Selector, Status> {
        Selector::parse(kind, self.get("labelSelector"), self.get("fieldSelector"))
    }
}

/// 422 about the options of a request rather than its object.
pub fn invalid_options(kind: &'static str, causes: &[Cause]) -> Status {
    Status::invalid(&unserved("meta.k8s.io", kind, ""), "", causes)
}

/// A kind that only messages name.
pub fn unserved(group: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, kind, plural, ..CONFIG_MAP }
}
