//! The OpenAPI document is our user interface: the committed one is what is served, whole and well named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lumbung::http::problem::Kind;
use lumbung_tests::TestApp;
use serde_json::Value;

/// What is served beside the document's operations.
const BESIDE: [&str; 6] = [
    "/docs",
    "/docs/problems",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/readyz",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// Method, path, operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

/// A change of the interface shows in the diff of docs/openapi.json. `LUMBUNG_UPDATE_OPENAPI=1` writes it.
#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let app = TestApp::start().await;
    let served = app.client().get("/openapi.json").await.expect(200);
    assert_eq!(&served, app.openapi.as_ref());
    let file = root().join("docs/openapi.json");
    let text = serde_json::to_string_pretty(&served).expect("JSON") + "\n";
    if std::env::var_os("LUMBUNG_UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, &text).expect("written");
    }
    let committed = std::fs::read_to_string(&file).expect("docs/openapi.json");
    let same = committed == text;
    assert!(
        same,
        "docs/openapi.json is not what is served; write it anew with `make openapi` and look at the diff"
    );
}

#[tokio::test]
async fn every_operation_is_named_described_and_scoped() {
    let app = TestApp::start().await;
    let document = &app.openapi;
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for (method, path, operation) in operations(document) {
        let mut check = |good: bool, what: &str| {
            if !good {
                wrong.push(format!("{method} {path}: {what}"));
            }
        };
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        check(
            !id.is_empty() && id.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "an operationId in snake_case",
        );
        check(ids.insert(id), "an operationId of its own");
        check(
            operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty() && !text.ends_with('.')),
            "a summary",
        );
        check(
            operation["tags"].as_array().is_some_and(|tags| tags.len() == 1),
            "one tag",
        );
        check(
            is_scoped(&operation["security"]),
            "the scope customer, support or admin, or none",
        );
        let responses = operation["responses"].as_object().expect("responses");
        check(
            responses
                .keys()
                .any(|status| status.starts_with('2') || status == "101"),
            "a success",
        );
        for (status, response) in responses {
            let failure = status.starts_with('4') || status.starts_with('5');
            let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
            check(
                !failure || problem == "#/components/schemas/Problem",
                &format!("{status} is a problem"),
            );
        }
        let parameters = operation["parameters"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let asks = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        for (header, statuses) in [
            ("If-Match", &["412", "428"][..]),
            ("Idempotency-Key", &["400", "409", "422"]),
        ] {
            let told = statuses.iter().all(|status| responses.contains_key(*status));
            check(!asks(header) || told, &format!("{statuses:?}, since it needs {header}"));
        }
    }
    assert!(wrong.is_empty(), "wanted:\n{}", wrong.join("\n"));
    let references = document.to_string();
    for reference in references.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "no schema is called {name}"
        );
    }
}

/// Nothing (public) or exactly one requirement with exactly one of our roles.
fn is_scoped(security: &Value) -> bool {
    let Some(requirements) = security.as_array() else {
        return security.is_null();
    };
    let [requirement] = requirements.as_slice() else {
        return requirements.is_empty();
    };
    let role = |scopes: &Value| {
        ["customer", "support", "admin"]
            .iter()
            .any(|role| *scopes == serde_json::json!([role]))
    };
    requirement
        .as_object()
        .is_some_and(|all| all.is_empty() || all.len() == 1 && role(&requirement["bearer"]))
}

/// Routes that are documented come from `routes!`, so what is left to find is a plain `.route(` in the source.
#[tokio::test]
async fn what_is_served_without_being_documented_is_known() {
    let mut plain = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("readable");
                let code = if path.ends_with("tests.rs") {
                    ""
                } else {
                    text.split("#[cfg(test)]").next().unwrap_or_default()
                };
                for call in ["route_service(", ".nest(", ".nest_service("] {
                    assert!(
                        !code.contains(call),
                        "{} uses {call}: what does it serve?",
                        path.display()
                    );
                }
                plain.extend(
                    code.split(".route(")
                        .skip(1)
                        .map(|rest| rest.trim_start().split('"').nth(1).unwrap_or("?").to_owned()),
                );
            }
        }
    }
    assert_eq!(plain, BESIDE.map(str::to_owned).into());
    let app = TestApp::start().await;
    for path in BESIDE {
        app.client().get(path).await.expect(200);
    }
    let elsewhere: Vec<_> = operations(&app.openapi)
        .into_iter()
        .map(|(_, path, _)| path)
        .filter(|path| !path.starts_with("/api/v1/"))
        .collect();
    assert_eq!(elsewhere, ["/.well-known/jwks.json"]);
}

#[tokio::test]
async fn every_problem_is_explained() {
    let app = TestApp::start().await;
    let page = app.client().get("/docs/problems").await.expect(200);
    let page = page.as_str().expect("HTML");
    for kind in Kind::ALL {
        assert!(
            page.contains(&format!("id=\"{}\"", kind.code())),
            "{} is not on the page",
            kind.code()
        );
    }
}
