//! Puts everything together: the one file that knows every domain. Nothing imports it but the commands and the tests.

pub mod docs;
pub mod health;
pub mod openapi;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use crate::billing::gateway::{Gateways, Manual};
use crate::clock::Ambient;
use crate::config::Serve;
use crate::db::{self, signal::Signals};
use crate::http::layers;
use crate::http::limit::peer::TrustedProxies;
use crate::http::limit::{self, Limits};
use crate::keys::Keys;
use crate::scheduling::{self, Scheduler};
use crate::tasks::{self, Task};
use crate::{billing, catalog, events, identity, instances, live, nodes, operations, regions, subscriptions};

/// What the app finds outside of itself.
pub struct Outside {
    pub pool: PgPool,
    pub database_url: String,
    pub ambient: Ambient,
    pub keys: Keys,
    pub kube: kube::Client,
    pub config: Serve,
    /// What a password hash costs: `Cost::STANDARD`, or next to nothing in tests.
    pub password_cost: identity::password::Cost,
}

/// The whole server, assembled and not yet running.
pub struct App {
    pub router: Router,
    pub openapi: Arc<Value>,
    /// Everything that runs in the background by period or bell.
    pub tasks: Vec<Task>,
    /// What runs for as long as the process does: watches, the hub, the relay of signals.
    pub forever: Vec<Forever>,
    pub signals: Signals,
    pub ambient: Ambient,
    pub pool: PgPool,
}

/// A long-running part, given the token that ends it.
pub type Forever = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

impl App {
    /// Prepares the database's contents (keys' fingerprints, region, catalogue) and wires the domains.
    pub async fn build(outside: Outside) -> anyhow::Result<Self> {
        prepare(&outside.pool, &outside.ambient, &outside.keys, &outside.config).await?;
        Self::wire(outside)
    }

    /// Wires the domains, without any I/O: enough for the OpenAPI document.
    pub fn wire(outside: Outside) -> anyhow::Result<Self> {
        let Outside {
            pool,
            database_url,
            ambient,
            keys,
            kube,
            config,
            password_cost,
        } = outside;
        let signals = Signals::default();
        let accepted_licences: Arc<BTreeSet<String>> = Arc::new(config.terms.accept_licences.iter().cloned().collect());

        let issuer =
            identity::session::Issuer::new(&config.http.public_url, keys.signing.clone(), keys.sealing.keys())?;
        let hasher = Arc::new(identity::password::Hasher::new(password_cost, &ambient.entropy)?);
        let accounts = identity::account::Accounts::new(pool.clone(), ambient.clone(), hasher, issuer);
        let limits = Arc::new(Limits::new(
            config.http.rate_limit,
            config.http.auth_rate_limit,
            &ambient.clock,
        ));
        let gate = accounts.gate.clone();
        let trusted: TrustedProxies = config.http.trusted_proxies.iter().copied().collect();

        let scheduler = Scheduler::new(config.cluster.volumes_movable);
        let keyring = Arc::new(keys.sealing);
        let templates = instances::store::templates::Templates::default();
        let reconciler = instances::reconcile::Reconciler {
            pool: pool.clone(),
            ambient: ambient.clone(),
            signals: signals.clone(),
            client: kube.clone(),
            keyring: keyring.clone(),
            settings: Arc::new(instances::Settings::from(&config.cluster)),
            templates: templates.clone(),
        };
        let commerce = subscriptions::Deps {
            pool: pool.clone(),
            ambient: ambient.clone(),
            signals: signals.clone(),
            scheduler: scheduler.clone(),
            keyring: keyring.clone(),
            gateways: Arc::new(Gateways::new(Manual {
                account: config.terms.bank_account.clone(),
            })),
            settings: Arc::new(subscriptions::Settings::from_config(&config.terms, &config.cluster)),
        };
        let hub = live::Hub::new(pool.clone(), ambient.clone(), signals.clone());
        let api = OpenApiRouter::with_openapi(openapi::base(&config.http.public_url))
            .merge(catalog::http::routes(catalog::http::Catalog {
                pool: pool.clone(),
                ambient: ambient.clone(),
                signals: signals.clone(),
                accepted_licences,
            }))
            .merge(billing::http::routes(pool.clone()))
            .merge(subscriptions::http::routes(commerce.clone()))
            .merge(instances::http::routes(instances::http::Api {
                pool: pool.clone(),
                ambient: ambient.clone(),
                signals: signals.clone(),
                keyring,
                templates,
                scheduler: Arc::new(scheduler.clone()),
            }))
            .merge(identity::http::routes(identity::http::Deps {
                accounts,
                limits: limits.clone(),
            }))
            .merge(live::routes(live::Deps {
                hub: hub.clone(),
                ambient: ambient.clone(),
                origins: live::Origins::new(&config.http.allowed_origins, &config.http.public_url),
                pace: live::Pace::STANDARD,
            }))
            .merge(nodes::http::routes(nodes::http::Api {
                pool: pool.clone(),
                ambient: ambient.clone(),
                signals: signals.clone(),
            }))
            .merge(scheduling::http::routes(scheduling::http::Api {
                pool: pool.clone(),
                ambient: ambient.clone(),
                scheduler: scheduler.clone(),
            }))
            .merge(operations::http::routes(pool.clone()));
        let (router, document) = api.split_for_parts();
        // From the inside: has this one asked too often, whose token is it, where does it come from.
        let router = router
            .layer(from_fn_with_state(limits.clone(), limit::api))
            .layer(from_fn_with_state(gate, identity::layer::authenticate))
            .layer(from_fn_with_state(Arc::new(trusted), limit::peer::layer));
        let openapi = Arc::new(openapi::finish(document)?);

        let nodes = nodes::Deps {
            pool: pool.clone(),
            ambient: ambient.clone(),
            signals: signals.clone(),
            client: kube,
        };
        let mut tasks = nodes::tasks(&nodes);
        tasks.extend(scheduling::tasks(&pool, &ambient, &scheduler));
        tasks.push(identity::housekeeping::task(pool.clone(), ambient.clone()));
        tasks.push(limits.task());
        tasks.push(events::trim::task(pool.clone(), ambient.clone()));
        tasks.extend(subscriptions::tasks(&commerce));
        tasks.extend(instances::tasks(&reconciler));
        tasks.push({
            let (pool, ambient, signals) = (pool.clone(), ambient.clone(), signals.clone());
            Task::new("operations", Duration::from_secs(5), None, move || {
                let (pool, ambient, signals) = (pool.clone(), ambient.clone(), signals.clone());
                async move { operations::task::run(&pool, &ambient, &signals).await }
            })
        });

        let relay = {
            let (signals, pool) = (signals.clone(), pool.clone());
            forever(move |cancel| signals.relay(pool, database_url, cancel))
        };
        let watch = forever(move |cancel| instances::watch::run(reconciler, cancel));
        let watch_nodes = forever(move |cancel| nodes::watch::run(nodes, cancel));
        let router = router
            .merge(health::routes(pool.clone()))
            .merge(openapi::routes(openapi.clone()))
            .merge(docs::routes(openapi.clone()));
        let router = layers::wrap(router, ambient.clone(), &config.http.allowed_origins);
        let feed = forever(move |cancel| hub.run(cancel));
        Ok(Self {
            router,
            openapi,
            tasks,
            forever: vec![relay, watch, watch_nodes, feed],
            signals,
            ambient,
            pool,
        })
    }

    /// Serves until cancelled: then no new requests, the running ones and the tasks finish, connections close.
    pub async fn run(self, listener: tokio::net::TcpListener, cancel: CancellationToken) -> anyhow::Result<()> {
        let tracker = TaskTracker::new();
        tasks::spawn(self.tasks, &self.ambient, &self.signals, &cancel, &tracker);
        for part in self.forever {
            tracker.spawn(part(cancel.clone()));
        }
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        let (stop, patience) = (cancel.clone(), cancel.clone());
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
        // A request whose head never ends would hold the process for ever: it gets as long as everything else.
        let overdue = async move {
            patience.cancelled().await;
            tokio::time::sleep(SHUTDOWN).await;
        };
        tokio::select! {
            served = serving.into_future() => served.context("serving HTTP")?,
            () = overdue => tracing::warn!("some requests did not end in time; their connections are closed"),
        }
        tracker.close();
        if tokio::time::timeout(SHUTDOWN, tracker.wait()).await.is_err() {
            tracing::warn!("some background work did not end in time; its leases run out and it is taken up again");
        }
        self.pool.close().await;
        Ok(())
    }
}

/// How long running work may take to end at shutdown, within a pod's 30 s of grace.
const SHUTDOWN: Duration = Duration::from_secs(15);

fn forever<F, Fut>(part: F) -> Forever
where
    F: FnOnce(CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Box::new(move |cancel| Box::pin(part(cancel)))
}

async fn prepare(pool: &PgPool, ambient: &Ambient, keys: &Keys, config: &Serve) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await.context("the database does not answer")?;
    keys.verify(&mut conn, ambient).await?;
    let mut tx = sqlx::Connection::begin(&mut *conn).await?;
    db::lock(&mut tx, db::STARTUP_LOCK).await?;
    regions::ensure_default(&mut tx, ambient).await?;
    let templates = catalog::seed::load(config.terms.templates.as_deref())?;
    catalog::seed::sync(&mut tx, ambient, &templates).await?;
    scheduling::policy::follow(&mut tx, ambient, &config.capacity).await?;
    tx.commit().await?;
    Ok(())
}
