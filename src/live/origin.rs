//! Which web pages may open a live connection: those of the portal, the dashboard and the API itself.
//!
//! A browser sends `Origin` with every WebSocket and CORS does not protect them, so without this any page that a
//! signed-in person visits could try. Programs that are no browser send none; they have to show who they are like anyone.

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::{HeaderMap, header};

/// The allowed origins.
#[derive(Clone, Debug)]
pub struct Origins(Arc<HashSet<String>>);

impl Origins {
    /// The configured ones and the API's own public address.
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a String>, public_url: &'a str) -> Self {
        let own = std::iter::once(public_url);
        let all = allowed.into_iter().map(String::as_str).chain(own);
        Self(Arc::new(all.map(normal).collect()))
    }

    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => true,
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.0.contains(&normal(origin))),
            // Two origins: not for us to choose one.
            (Some(_), Some(_)) => false,
        }
    }
}

/// In lower case, without the port that the scheme has anyway (RFC 6454).
fn normal(origin: &str) -> String {
    let lower = origin.to_ascii_lowercase();
    let without = match lower.split_once("://") {
        Some(("https", host)) => host.strip_suffix(":443"),
        Some(("http", host)) => host.strip_suffix(":80"),
        _ => None,
    };
    match (without, lower.split_once("://")) {
        (Some(host), Some((scheme, _))) => format!("{scheme}://{host}"),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_pages_and_programs_without_one_get_in() {
        let portal = "https://portal.example".to_owned();
        let origins = Origins::new([&portal], "http://localhost:8080");
        let admit = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ORIGIN, value.parse().unwrap());
            }
            origins.admit(&headers)
        };
        for good in [
            &[][..],
            &["https://portal.example"],
            &["https://Portal.Example:443"],
            &["http://localhost:8080"],
        ] {
            assert!(admit(good), "{good:?}");
        }
        for bad in [
            &["null"][..],
            &[""],
            &["http://portal.example"],
            &["https://portal.example.evil.example"],
            &["https://portal.example:444"],
            &["https://evil.example"],
            &["http://localhost"],
            &["https://portal.example", "https://portal.example"],
        ] {
            assert!(!admit(bad), "{bad:?}");
        }
    }
}
