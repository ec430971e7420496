//! Every operation of the OpenAPI document, asked by everybody: who may gets the documented success, who may not the
//! exact refusal.
//!
//! The operations come from the document, how each is called from [`calls::table`]; one that is missing there fails the
//! test, and so does one that became public without being listed in [`PUBLIC`].

mod calls;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use lumbung_tests::{Answer, eventually};
use reqwest::Method;
use serde_json::Value;

use calls::{Call, Whose};
use world::World;

/// What may be called without a token. Whoever adds to it has thought about it.
const PUBLIC: [&str; 6] = [
    "get_jwks",
    "get_service",
    "list_services",
    "login",
    "refresh",
    "register",
];

/// Who asks. The owner and the admin come last: what they may do changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    /// With something that is no token.
    Garbage,
    /// With a token that was good an hour ago.
    Expired,
    Other,
    Support,
    Owner,
    Admin,
}

impl Who {
    const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Garbage,
        Self::Expired,
        Self::Other,
        Self::Support,
        Self::Owner,
        Self::Admin,
    ];

    fn role(self) -> Option<Role> {
        match self {
            Self::Nobody | Self::Garbage | Self::Expired => None,
            Self::Other | Self::Owner => Some(Role::Customer),
            Self::Support => Some(Role::Support),
            Self::Admin => Some(Role::Admin),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Customer,
    Support,
    Admin,
}

/// An operation as the document has it.
struct Operation {
    id: String,
    method: Method,
    path: String,
    /// The lowest role; `None` is public.
    scope: Option<Role>,
    statuses: BTreeSet<u16>,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Success,
    Refused(u16, &'static str),
}

fn operations(document: &Value) -> BTreeMap<String, Operation> {
    let items = document["paths"].as_object().expect("paths").iter();
    let all = items.flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").iter();
        methods.map(move |(method, operation)| read(path, method, operation))
    });
    all.map(|operation| (operation.id.clone(), operation)).collect()
}

fn read(path: &str, method: &str, operation: &Value) -> Operation {
    let scope = match operation["security"][0]["bearer"][0].as_str() {
        None => None,
        Some("customer") => Some(Role::Customer),
        Some("support") => Some(Role::Support),
        Some("admin") => Some(Role::Admin),
        Some(other) => panic!("{method} {path}: no role is called {other}"),
    };
    let statuses = operation["responses"].as_object().expect("responses").keys();
    Operation {
        id: operation["operationId"].as_str().expect("an operationId").to_owned(),
        method: method.to_uppercase().parse().expect("a method"),
        path: path.to_owned(),
        scope,
        statuses: statuses.map(|status| status.parse().expect("a status")).collect(),
    }
}

/// The whole of our rules, in one place.
fn expected(operation: &Operation, whose: Whose, who: Who) -> Expected {
    let Some(scope) = operation.scope else {
        return Expected::Success;
    };
    let Some(role) = who.role() else {
        let code = if who == Who::Nobody {
            "unauthenticated"
        } else {
            "invalid-token"
        };
        return Expected::Refused(401, code);
    };
    if role < scope {
        return Expected::Refused(403, "forbidden");
    }
    let looks = operation.method == Method::GET;
    match (whose, who) {
        (Whose::Owners | Whose::OwnersAlone, Who::Other) => Expected::Refused(404, "not-found"),
        (Whose::Owners, Who::Support) if !looks => Expected::Refused(403, "forbidden"),
        (Whose::OwnersAlone, Who::Support | Who::Admin) => Expected::Refused(403, "forbidden"),
        _ => Expected::Success,
    }
}

#[tokio::test]
async fn every_operation_serves_whom_it_names_and_refuses_everybody_else() {
    let world = World::new().await;
    let mut operations = operations(&world.app.openapi);
    let public: Vec<_> = operations
        .values()
        .filter(|operation| operation.scope.is_none())
        .map(|o| o.id.as_str())
        .collect();
    assert_eq!(public, PUBLIC, "the operations that need no token");
    let mut wrong = Vec::new();
    for (id, call) in calls::table(&world) {
        let operation = operations
            .remove(id)
            .unwrap_or_else(|| panic!("{id} is not (or twice) in the table and the document"));
        for who in Who::ALL {
            let answer = ask(&world, &operation, &call, who).await;
            wrong.extend(judge(&operation, call.whose, who, &answer));
            if operation.method != Method::GET && answer.status.is_success() {
                world.app.settle().await;
            }
        }
    }
    let forgotten: Vec<_> = operations.keys().collect();
    assert!(
        forgotten.is_empty(),
        "how are these called? Tell calls::table: {forgotten:?}"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn ask(world: &World, operation: &Operation, call: &Call, who: Who) -> Answer {
    let client = world.client(who, call.own_session).await;
    let body = call.body.make(world).await;
    let tag = match &call.etag_of {
        // Whoever may not look has no ETag either; the refusal comes before it matters.
        Some(path) => Some(client.get(path).await.header("etag").unwrap_or("\"v1\"").to_owned()),
        None => None,
    };
    let key = world.number().to_string();
    let mut headers = call.headers.clone();
    headers.extend(tag.as_deref().map(|tag| ("if-match", tag)));
    headers.extend(call.key.then_some(("idempotency-key", key.as_str())));
    let path = call.path(&operation.path);
    eventually("an answer that is not 503", || async {
        // The feed of live connections is read for the first time soon after the start.
        let answer = client
            .send(operation.method.clone(), &path, &headers, body.as_ref())
            .await;
        (answer.status.as_u16() != 503).then_some(answer)
    })
    .await
}

fn judge(operation: &Operation, whose: Whose, who: Who, answer: &Answer) -> Vec<String> {
    let status = answer.status.as_u16();
    let mut wrong = Vec::new();
    let mut complain = |what: String| wrong.push(format!("{} as {who:?}: {what}; body: {}", operation.id, answer.body));
    if !operation.statuses.contains(&status) {
        complain(format!("status {status} is not documented"));
    }
    let served = answer.status.is_success() || status == 101;
    let media = answer.header("content-type").unwrap_or_default();
    if !served && media != "application/problem+json" {
        complain(format!("a refusal of type {media:?}"));
    }
    match expected(operation, whose, who) {
        Expected::Success if served => {}
        Expected::Success => complain(format!("{status} instead of success")),
        Expected::Refused(wanted, code) if status == wanted && answer.body["code"] == code => {}
        Expected::Refused(wanted, code) => complain(format!("{status} instead of {wanted} {code}")),
    }
    if status == 401 && answer.header("www-authenticate").is_none() {
        complain("401 without WWW-Authenticate".to_owned());
    }
    wrong
}
