//! Query parameters. Those that are not known here are answered 501, so that none is silently without effect.

use crate::{
    resource::Kind,
    selector::Selector,
    status::{Cause, Status},
    store::Propagation,
};

/// The parameters of one request, as text.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

const KNOWN: [&str; 27] = [
    "allowWatchBookmarks",
    "container",
    "continue",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "limitBytes",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "verbose",
    "watch",
];

impl Query {
    pub fn parse(query: &str) -> Result<Self, Status> {
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !KNOWN.contains(&name.as_str()) {
                return Err(Status::not_implemented(format_args!("the parameter {name}")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter; empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A switch: present and neither `0` nor `false`.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_ascii_lowercase());
        value.is_some_and(|value| value != "0" && value != "false")
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
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

    pub fn propagation(&self) -> Result<Option<Propagation>, Status> {
        self.get("propagationPolicy").map(propagation).transpose()
    }
}

pub fn propagation(policy: &str) -> Result<Propagation, Status> {
    match policy {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let cause = Cause::unsupported("propagationPolicy", &other.into(), &known);
            Err(invalid_options("DeleteOptions", &[cause]))
        }
    }
}

/// 422 about the options of a request rather than its object.
pub fn invalid_options(kind: &'static str, causes: &[Cause]) -> Status {
    let options = Kind {
        group: "meta.k8s.io",
        version: "v1",
        kind,
        plural: "",
        singular: "",
        short: &[],
        namespaced: false,
        has_generation: false,
        subresources: &[],
    };
    Status::invalid(&options, "", causes)
}

/// Percent-decoding, with `+` as a space.
fn decode(text: &str) -> Result<String, Status> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).map_err(|_| Status::bad_request("invalid URL escape in the query"))?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Status::bad_request("the query is not UTF-8"))
}
