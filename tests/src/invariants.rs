//! What must hold of the rows and of the cluster whenever the platform is at rest, whatever has happened before.
//!
//! Everything is read afresh from the database and from the Kubernetes API, and compared; nothing of what the server
//! itself computes is believed except the ledger check of its scheduling, which is asked as well. Each broken rule is a
//! line of text, so that a failing history shows all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::Resource;
use kube::api::Api;
use lumbung::kube::{OURS, instance_of, list, list_metadata};
use lumbung::nodes::{quantity, requests};
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use uuid::Uuid;

/// A rule over the rows: what it says, and a query for those that break it, as text.
const RULES: &[(&str, &str)] = &[
    (
        "an event stream has a gap",
        "SELECT s.id::text FROM event_streams s
          WHERE (SELECT count(*) FROM events e WHERE e.stream = s.id AND e.seq BETWEEN s.first_seq AND s.last_seq)
                <> s.last_seq - s.first_seq + 1
             OR EXISTS (SELECT FROM events e WHERE e.stream = s.id AND e.seq NOT BETWEEN s.first_seq AND s.last_seq)",
    ),
    (
        "a subscription has not exactly one instance",
        "SELECT s.id::text FROM subscriptions s
          WHERE (SELECT count(*) FROM service_instances i WHERE i.subscription_id = s.id) <> 1",
    ),
    (
        "an instance has not the one open placement of its state",
        "SELECT i.id || ' ' || i.phase FROM service_instances i
          WHERE (SELECT count(*) FROM placements p WHERE p.instance_id = i.id AND p.released_at IS NULL)
                <> CASE WHEN i.deleted_at IS NULL THEN 1 ELSE 0 END",
    ),
    (
        "an invoice and its money disagree",
        "SELECT b.id || ' ' || b.status FROM billing b
          CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE kind = 'payment' AND status = 'paid') AS paid,
                   count(*) FILTER (WHERE kind = 'credit') AS credited,
                   count(*) FILTER (WHERE amount_idr <> b.amount_idr) AS wrong
              FROM transactions t WHERE t.billing_id = b.id) t
          WHERE t.wrong > 0
             OR (t.paid, t.credited) NOT IN (SELECT 0, 0 WHERE b.status IN ('open', 'void')
                                             UNION SELECT 1, 0 WHERE b.status = 'paid'
                                             UNION SELECT 1, 1 WHERE b.status = 'credited')",
    ),
    (
        "a period that has begun is not paid exactly once",
        "SELECT s.id || ' ' || s.period_no FROM subscriptions s
          WHERE s.period_start IS NOT NULL
            AND (SELECT count(*) FROM billing b
                  WHERE b.subscription_id = s.id AND b.status = 'paid' AND b.period_no <= s.period_no)
                <> s.period_no - CASE WHEN s.awaiting_restart AND s.status = 'cancelled' THEN 1 ELSE 0 END",
    ),
    (
        "two periods of one subscription overlap",
        "SELECT a.subscription_id::text FROM billing a JOIN billing b USING (subscription_id)
          WHERE a.id < b.id AND a.period_start < b.period_end AND b.period_start < a.period_end",
    ),
    (
        "an operation runs on what has come to its end",
        "SELECT o.id || ' ' || o.kind FROM operations o JOIN service_instances i ON i.id = o.subject_id
          WHERE o.status = 'running' AND i.phase IN ('running', 'stopped', 'deleted')
            AND i.observed_generation >= o.generation",
    ),
    (
        "a namespace's quota is not made of its instances",
        "SELECT n.name FROM customer_namespaces n
          WHERE n.applied_quota IS NOT NULL
            AND (SELECT coalesce(array_agg(k ORDER BY k), '{}') FROM jsonb_object_keys(n.applied_quota) k)
                IS DISTINCT FROM
                (SELECT coalesce(array_agg(i.id::text ORDER BY i.id::text), '{}') FROM service_instances i
                  WHERE i.namespace_id = n.id AND i.phase NOT IN ('pending', 'deleted'))",
    ),
];

/// An instance with its place, as the rows have them.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: Uuid,
    service: String,
    phase: String,
    node: Option<String>,
    cpu_request_milli: Option<i32>,
    mem_request_mib: Option<i32>,
}

/// How many objects of each kind carry an instance's label.
type Counts = BTreeMap<&'static str, usize>;

/// Every broken rule; none when all is well.
pub async fn broken(pool: &PgPool, client: &kube::Client) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, sql) in RULES {
        let found: Vec<String> = sqlx::query_scalar(*sql).fetch_all(pool).await.expect(rule);
        broken.extend(found.into_iter().map(|which| format!("{rule}: {which}")));
    }
    let ledger = lumbung::scheduling::check::run(pool).await.expect("the ledger is read");
    broken.extend(ledger.violations.into_iter().map(|violation| violation.detail));
    broken.extend(mismatches());
    broken.extend(objects(pool, client).await);
    broken
}

/// What the servers in this process have found of their own snapshots, which they check whenever they settle.
fn mismatches() -> Option<String> {
    let metrics = String::from_utf8(lumbung::telemetry::render()).expect("text");
    let name = "lumbung_scheduling_snapshot_mismatches_total ";
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    (!line.ends_with(" 0")).then(|| format!("a snapshot differed from the rows: {line}"))
}

async fn objects(pool: &PgPool, client: &kube::Client) -> Vec<String> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT i.id, c.slug AS service, i.phase, n.name AS node, p.cpu_request_milli, p.mem_request_mib
           FROM service_instances i JOIN services_catalog c ON c.id = i.service_id
           LEFT JOIN placements p ON p.instance_id = i.id AND p.released_at IS NULL
           LEFT JOIN worker_nodes n ON n.id = p.node_id",
    )
    .fetch_all(pool)
    .await
    .expect("the instances");
    let mut found = BTreeMap::new();
    count::<Ingress>(client, "ingress", &mut found).await;
    count::<StatefulSet>(client, "statefulset", &mut found).await;
    count::<Service>(client, "service", &mut found).await;
    count::<NetworkPolicy>(client, "networkpolicy", &mut found).await;
    count::<ConfigMap>(client, "configmap", &mut found).await;
    count::<Secret>(client, "secret", &mut found).await;
    count::<PersistentVolumeClaim>(client, "claim", &mut found).await;
    let pods = list::<Pod>(&Api::all(client.clone()), OURS).await.expect("the pods");
    for pod in &pods {
        if let Some(id) = instance_of(&pod.metadata) {
            *found.entry(id).or_default().entry("pod").or_default() += 1;
        }
    }
    let mut broken = orphans(&rows, &found);
    for row in &rows {
        let has = found.get(&row.id).cloned().unwrap_or_default();
        broken.extend(shape(row, &has));
    }
    broken.extend(unlike(&rows, &found));
    broken.extend(placed(&rows, &pods));
    let nodes = list::<Node>(&Api::all(client.clone()), "").await.expect("the nodes");
    let every_pod = list::<Pod>(&Api::all(client.clone()), "").await.expect("every pod");
    broken.extend(nodes.iter().filter_map(|node| overfull(node, &every_pod)));
    broken
}

async fn count<K>(client: &kube::Client, kind: &'static str, found: &mut BTreeMap<Uuid, Counts>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let objects = list_metadata::<K>(&Api::all(client.clone()), OURS).await.expect(kind);
    for id in objects.iter().filter_map(|object| instance_of(&object.metadata)) {
        *found.entry(id).or_default().entry(kind).or_default() += 1;
    }
}

fn orphans(rows: &[Row], found: &BTreeMap<Uuid, Counts>) -> Vec<String> {
    let known: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    let unknown = found.iter().filter(|(id, _)| !known.contains(id));
    unknown
        .map(|(id, has)| format!("no row owns the objects of {id}: {has:?}"))
        .collect()
}

/// What there must be of an instance in its phase, once each.
fn shape(row: &Row, has: &Counts) -> Option<String> {
    let exactly = |kinds: &[(&'static str, usize)]| {
        kinds
            .iter()
            .all(|(kind, count)| has.get(kind).copied().unwrap_or(0) == *count)
    };
    let some = |kind| has.contains_key(kind);
    let right = match row.phase.as_str() {
        "running" => {
            exactly(&[("statefulset", 1), ("pod", 1), ("service", 1), ("ingress", 1)])
                && some("secret")
                && some("claim")
        }
        "stopped" => exactly(&[("pod", 0)]),
        "pending" | "deleted" => has.is_empty(),
        _ => true,
    };
    (!right).then(|| format!("{} {} is {} and has {has:?}", row.service, row.id, row.phase))
}

/// Two running instances of one service consist of the same; a difference is a left-over or a loss.
fn unlike(rows: &[Row], found: &BTreeMap<Uuid, Counts>) -> Vec<String> {
    let mut first: BTreeMap<&str, &Counts> = BTreeMap::new();
    let mut unlike = Vec::new();
    for row in rows.iter().filter(|row| row.phase == "running") {
        let Some(has) = found.get(&row.id) else { continue };
        let usual = *first.entry(&row.service).or_insert(has);
        if usual != has {
            unlike.push(format!("{} {} has {has:?}, another one {usual:?}", row.service, row.id));
        }
    }
    unlike
}

/// The ledger is the sum of the pods: each runs where its placement says, with the request that stands there.
fn placed(rows: &[Row], pods: &[Pod]) -> Vec<String> {
    let mut broken = Vec::new();
    for pod in pods.iter().filter(|pod| requests::counts(pod)) {
        let row = instance_of(&pod.metadata).and_then(|id| rows.iter().find(|row| row.id == id));
        let Some(row) = row.filter(|row| row.phase == "running") else {
            continue;
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let asks = requests::effective(pod);
        let written = (row.cpu_request_milli.map(i64::from), row.mem_request_mib.map(i64::from));
        if node != row.node || (Some(asks.cpu_milli), Some(asks.mem_mib)) != written {
            broken.push(format!(
                "the pod of {} is on {node:?} and asks for {asks:?}; its placement: {row:?}",
                row.id
            ));
        }
    }
    broken
}

/// What the pods on a node ask for, foreign ones included, is what it has at most.
fn overfull(node: &Node, pods: &[Pod]) -> Option<String> {
    let name = node.metadata.name.as_deref();
    let here = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == name);
    let asked: Vec<_> = here
        .filter(|pod| requests::counts(pod))
        .map(requests::effective)
        .collect();
    let (cpu, mem) = asked
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.cpu_milli, sum.1 + one.mem_mib));
    let has = node.status.as_ref()?.allocatable.as_ref()?;
    let cpu_has = quantity::milli_floor(&has["cpu"].0)?;
    let mem_has = quantity::mib_floor(&has["memory"].0)?;
    (cpu > cpu_has || mem > mem_has)
        .then(|| format!("{name:?} has {cpu_has}m, {mem_has} MiB; asked: {cpu}m, {mem} MiB"))
}
