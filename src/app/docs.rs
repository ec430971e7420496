//! The readable API pages: /docs, made from the OpenAPI document, and /docs/problems, made from the problem catalogue.
//!
//! Both are rendered once, when the server starts, into one self-contained page each: no file, script or font comes from
//! anywhere else, so they work without the internet and when saved. Their style and script stand in the page, and the
//! Content-Security-Policy names these two by hash and allows nothing else. Without scripts everything can still be read.
//!
//! They show what the document says, in its words; nothing is documented here only.

mod problems;
mod reference;
mod schema;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minijinja::Environment;
use minijinja::value::{Serde, Value as Item};
use serde_json::Value;

use crate::crypto;

const STYLE: &str = include_str!("docs/style.css");
const SCRIPT: &str = include_str!("docs/script.js");

/// /docs and /docs/problems.
pub fn routes(openapi: Arc<Value>) -> Router {
    let reference = Bytes::from(reference_page(&openapi));
    let problems = Bytes::from(problems_page());
    Router::new()
        .route("/docs", get(move || std::future::ready(answer(reference.clone()))))
        .route(
            "/docs/problems",
            get(move || std::future::ready(answer(problems.clone()))),
        )
}

fn answer(page: Bytes) -> impl IntoResponse {
    let headers: [(HeaderName, String); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "public, max-age=300".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, page)
}

fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(crypto::sha256(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn reference_page(openapi: &Value) -> String {
    render(include_str!("docs/reference.html"), &reference::read(openapi))
}

fn problems_page() -> String {
    render(include_str!("docs/problems.html"), &problems::all())
}

/// The templates are part of the program, and get data of the program's own types: an error here is a bug that every
/// test of the app would meet.
fn render(template: &str, page: &impl serde::Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    environment.add_filter("words", words);
    environment.add_global("style", Item::from_safe_string(STYLE.to_owned()));
    environment.add_global("script", Item::from_safe_string(SCRIPT.to_owned()));
    environment
        .render_str(template, Serde(page))
        .expect("the page can be rendered")
}

/// Doc comments are Markdown; of it this understands paragraphs and `code`, which is what ours use.
fn words(text: &str) -> Item {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let paragraph = |text: &str| {
        let parts = text.split('`').zip([false, true].into_iter().cycle());
        parts.fold(String::new(), |html, (part, code)| {
            let part = escape(part);
            html + &if code { format!("<code>{part}</code>") } else { part }
        })
    };
    let paragraphs: Vec<_> = text
        .split("\n\n")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(paragraph)
        .collect();
    Item::from_safe_string(paragraphs.join("<br><br>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Kind;
    use serde_json::json;

    #[test]
    fn words_are_escaped_and_code_is_set_apart() {
        let html = words("Use `a<b>` & <i>\n\nthen `c`").to_string();
        assert_eq!(
            html,
            "Use <code>a&lt;b&gt;</code> &amp; &lt;i&gt;<br><br>then <code>c</code>"
        );
    }

    #[test]
    fn the_page_shows_an_operation_and_escapes_what_it_shows() {
        let page = reference_page(&json!({
            "info": {"title": "T", "version": "1"},
            "paths": {"/api/v1/things/{id}": {"get": {
                "tags": ["things"], "operationId": "get_thing", "summary": "Show <a> thing",
                "security": [{"bearer": ["support"]}],
                "responses": {"200": {"description": "It", "content": {"application/json": {"schema": {
                    "type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 9}}}}}}}
            }}}
        }));
        for part in [
            "Show &lt;a&gt; thing",
            "id=\"get_thing\"",
            "&#x2f;api&#x2f;v1&#x2f;things&#x2f;{id}",
            "support",
            "at most 9 characters",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("<a> thing"));
    }

    #[test]
    fn pages_load_nothing_and_run_only_what_the_policy_names() {
        for page in [reference_page(&json!({"paths": {}})), problems_page()] {
            for foreign in ["src=", "http-equiv", "@import", "url(", " style=", " onclick="] {
                assert!(!page.contains(foreign), "{foreign}");
            }
            assert!(page.contains(&format!("<style>{STYLE}</style>")));
            assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        }
    }

    #[test]
    fn every_problem_has_its_anchor() {
        let page = problems_page();
        for kind in Kind::ALL {
            assert!(page.contains(&format!("id=\"{}\"", kind.code())), "{}", kind.code());
        }
    }
}
