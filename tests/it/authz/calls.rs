//! How every operation is called so that it succeeds for whom it is meant, in an order in which each still can.

use lumbung_tests::PASSWORD;
use serde_json::{Value, json};

use super::world::{OWNER, World};

/// To whom belongs what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own, or everybody's: the role decides alone.
    Anybodys,
    /// The owner's; staff may look, admins may change.
    Owners,
    /// The owner's, and not even staff may look.
    OwnersAlone,
}

pub struct Call {
    pub whose: Whose,
    params: Vec<(&'static str, String)>,
    query: String,
    pub body: Body,
    /// Sends an Idempotency-Key.
    pub key: bool,
    /// Sends the ETag that the caller sees there as If-Match.
    pub etag_of: Option<String>,
    pub headers: Vec<(&'static str, &'static str)>,
    /// In a session of its own, since the call ends it.
    pub own_session: bool,
}

pub enum Body {
    None,
    Json(Value),
    /// Another one each time.
    Numbered(fn(&World, u32) -> Value),
    RefreshToken,
}

impl Body {
    pub async fn make(&self, world: &World) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Json(body) => Some(body.clone()),
            Self::Numbered(body) => Some(body(world, world.number())),
            Self::RefreshToken => Some(json!({"refresh_token": world.refresh_token().await})),
        }
    }
}

impl Call {
    fn new(whose: Whose) -> Self {
        let (params, headers) = (Vec::new(), Vec::new());
        Self {
            whose,
            params,
            query: String::new(),
            body: Body::None,
            key: false,
            etag_of: None,
            headers,
            own_session: false,
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.params.push((name, value.to_owned()));
        self
    }

    fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    fn json(self, body: Value) -> Self {
        self.body(Body::Json(body))
    }

    fn keyed(mut self) -> Self {
        self.key = true;
        self
    }

    fn if_match(mut self, of: impl Into<String>) -> Self {
        self.etag_of = Some(of.into());
        self
    }

    /// The document's path with this call's parameters.
    pub fn path(&self, template: &str) -> String {
        let filled = self.params.iter().fold(template.to_owned(), |path, (name, value)| {
            let hole = format!("{{{name}}}");
            assert!(path.contains(&hole), "{template} has no {hole}");
            path.replace(&hole, value)
        });
        assert!(!filled.contains('{'), "{filled} needs more parameters");
        filled + &self.query
    }
}

fn anybodys() -> Call {
    Call::new(Whose::Anybodys)
}

fn owners(id: &str) -> Call {
    Call::new(Whose::Owners).with("id", id)
}

pub fn table(world: &World) -> Vec<(&'static str, Call)> {
    let mut all = account();
    all.extend(catalogue());
    all.extend(money(world));
    all.extend(instances(world));
    all.extend(staff(world));
    all.extend(endings(world));
    all
}

fn account() -> Vec<(&'static str, Call)> {
    let credentials = json!({"email": OWNER, "password": PASSWORD});
    let newcomer = |_: &World, number| json!({"email": format!("new-{number}@example.org"), "password": PASSWORD});
    let upgrade = vec![
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    vec![
        ("register", anybodys().body(Body::Numbered(newcomer))),
        ("login", anybodys().json(credentials)),
        ("refresh", anybodys().body(Body::RefreshToken)),
        ("get_jwks", anybodys()),
        ("get_me", anybodys()),
        (
            "update_me",
            anybodys().if_match("/api/v1/me").json(json!({"name": "Dewi"})),
        ),
        (
            "logout",
            Call {
                own_session: true,
                ..anybodys()
            },
        ),
        ("create_live_ticket", anybodys()),
        (
            "open_live",
            Call {
                headers: upgrade,
                ..anybodys()
            },
        ),
    ]
}

fn catalogue() -> Vec<(&'static str, Call)> {
    let another = |world: &World, number| world.service(&format!("shelf-{number}"));
    let next = |world: &World, number| {
        let mut template = world.service("shelf");
        template["version"] = json!(format!("9.0.{number}"));
        template
    };
    let shelf = || anybodys().with("slug", "shelf");
    vec![
        ("list_services", anybodys()),
        ("get_service", anybodys().with("slug", "linkding")),
        ("admin_create_service", anybodys().keyed().body(Body::Numbered(another))),
        (
            "admin_create_service_version",
            shelf().keyed().body(Body::Numbered(next)),
        ),
        ("admin_list_services", anybodys()),
        ("admin_list_service_versions", shelf()),
        ("admin_get_service_version", shelf().with("version", "1")),
        ("admin_publish_service_version", shelf().with("version", "1")),
        ("admin_retire_service", shelf()),
    ]
}

fn money(world: &World) -> Vec<(&'static str, Call)> {
    let kept = &world.kept;
    vec![
        (
            "create_order",
            anybodys()
                .keyed()
                .json(json!({"service": "linkding", "plan": "starter"})),
        ),
        ("list_subscriptions", anybodys()),
        ("get_subscription", owners(&kept.subscription)),
        (
            "renew_subscription",
            owners(&kept.subscription).keyed().json(json!({"period_no": 2})),
        ),
        (
            "cancel_subscription",
            owners(&kept.subscription).json(json!({"when": "period_end"})),
        ),
        ("undo_cancel_subscription", owners(&kept.subscription)),
        ("list_invoices", anybodys()),
        ("get_invoice", owners(&kept.invoice)),
        ("list_transactions", anybodys()),
        ("get_transaction", owners(&world.transaction)),
    ]
}

fn instances(world: &World) -> Vec<(&'static str, Call)> {
    let kept = || owners(&world.kept.instance);
    vec![
        ("list_instances", anybodys()),
        ("get_instance", kept()),
        ("list_instance_operations", kept()),
        ("list_instance_events", kept()),
        (
            "get_instance_credentials",
            Call {
                whose: Whose::OwnersAlone,
                ..kept()
            },
        ),
        ("get_operation", owners(&world.kept.operation)),
        ("stop_instance", kept()),
        ("start_instance", kept()),
        ("restart_instance", kept()),
    ]
}

fn staff(world: &World) -> Vec<(&'static str, Call)> {
    let size = json!({"cpu_request_milli": 250, "mem_request_mib": 512});
    let worker = || anybodys().with("id", &world.worker);
    let subject = || anybodys().with("id", &world.subject);
    vec![
        ("list_users", anybodys()),
        ("get_user", subject()),
        ("list_workers", anybodys()),
        ("get_worker", worker()),
        ("list_placements", anybodys()),
        (
            "get_headroom",
            anybodys().query("?cpu_request_milli=250&mem_request_mib=512"),
        ),
        ("explain_placement", anybodys().json(size.clone())),
        ("check_placements", anybodys()),
        (
            "ask_what_if",
            anybodys().json(json!({"changes": [{"fail_largest": {"count": 1}}], "service": size})),
        ),
        ("get_resilience", anybodys()),
        ("plan_drain", anybodys().with("node_id", &world.worker)),
        (
            "plan_defragmentation",
            anybodys().query(format!("?plan_id={}", world.plan)),
        ),
        ("admin_list_instances", anybodys()),
        ("list_all_subscriptions", anybodys()),
        ("list_all_invoices", anybodys()),
    ]
}

/// What changes much, last.
fn endings(world: &World) -> Vec<(&'static str, Call)> {
    let user = format!("/api/v1/admin/users/{}", world.subject);
    let worker = format!("/api/v1/admin/workers/{}", world.worker);
    let of = |id: &str| anybodys().with("id", id);
    vec![
        (
            "update_worker",
            of(&world.worker)
                .if_match(worker)
                .json(json!({"admission": "cordoned"})),
        ),
        (
            "update_user",
            of(&world.subject).if_match(user).json(json!({"status": "suspended"})),
        ),
        ("admin_hold_instance", of(&world.kept.instance)),
        ("admin_release_instance", of(&world.kept.instance)),
        ("confirm_payment", of(&world.unpaid.invoice)),
        ("admin_cancel_subscription", of(&world.doomed.subscription)),
    ]
}
