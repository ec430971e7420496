//! The backstop of the watches: lists our objects and touches the instances whose objects changed since the last look,
//! or that nobody has looked at for long. With it a lost watch event costs latency and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, PartialObjectMeta};
use prometheus::IntGaugeVec;
use uuid::Uuid;

use super::phase::Phase;
use super::reconcile::Reconciler;
use super::store;
use crate::db::signal::Channel;
use crate::kube::{self as k8s, OURS};
use crate::tasks::Report;
use crate::telemetry;

/// Nothing is believed for longer than this without having been looked at again.
const STALE: Duration = Duration::from_mins(10);

static PHASES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| telemetry::gauge("lumbung_instances_current", "Instances by observed phase.", &["phase"]));

/// A mark that changes when any of an instance's objects changes.
type Marks = HashMap<Uuid, u64>;

/// What the last look of this process saw.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Option<Marks>>>);

pub async fn run(ctx: &Reconciler, memory: &Memory) -> anyhow::Result<Report> {
    let mut conn = ctx.pool.acquire().await?;
    for (phase, count) in counts(store::by_phase(&mut conn).await?) {
        PHASES.with_label_values(&[phase.name()]).set(count);
    }
    let now = ctx.ambient.now();
    // Before the look: when the cluster does not answer, the passes that this makes due are what says so.
    let mut touched = store::touch_stale(&mut conn, now, now.minus(STALE)).await?;
    if touched > 0 {
        ctx.signals.ring(Channel::Work);
    }
    drop(conn);
    let marks = look(ctx).await?;
    let (moved, is_first) = moved(&memory.0, marks);
    // What lost all its objects while nobody looked has no mark to be found by.
    let mut conn = ctx.pool.acquire().await?;
    touched += store::touch(&mut conn, now, &moved).await?;
    if is_first {
        touched += store::touch_stale(&mut conn, now, now).await?;
    }
    if touched > 0 {
        ctx.signals.ring(Channel::Work);
    }
    Ok(Report::did(touched))
}

/// Every phase has a number, zero included: a gauge that stays where it was would lie.
fn counts(found: Vec<(Phase, i64)>) -> HashMap<Phase, i64> {
    let mut counts: HashMap<_, _> = Phase::ALL.iter().map(|phase| (*phase, 0)).collect();
    counts.extend(found);
    counts
}

async fn look(ctx: &Reconciler) -> kube::Result<Marks> {
    let pods: Api<Pod> = Api::all(ctx.client.clone());
    let sets: Api<StatefulSet> = Api::all(ctx.client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::all(ctx.client.clone());
    let mut marks = Marks::new();
    note(&mut marks, &k8s::list_metadata(&pods, OURS).await?);
    note(&mut marks, &k8s::list_metadata(&sets, OURS).await?);
    note(&mut marks, &k8s::list_metadata(&claims, OURS).await?);
    Ok(marks)
}

fn note<K>(marks: &mut Marks, objects: &[PartialObjectMeta<K>]) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    for object in objects {
        let Some(id) = k8s::instance_of(&object.metadata) else {
            continue;
        };
        let mut hasher = DefaultHasher::new();
        (&object.metadata.uid, &object.metadata.resource_version).hash(&mut hasher);
        // A sum, so that the order of the list does not matter.
        let mark = marks.entry(id).or_default();
        *mark = mark.wrapping_add(hasher.finish());
    }
}

/// Remembers the new marks and says which instances moved, appeared or lost everything, and whether this is the first
/// look of the process. That has nothing to compare with: everything is touched then.
fn moved(memory: &Mutex<Option<Marks>>, marks: Marks) -> (Vec<Uuid>, bool) {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    let known = memory.replace(marks);
    let is_first = known.is_none();
    let before = known.unwrap_or_default();
    let Some(marks) = memory.as_ref() else {
        return (Vec::new(), is_first);
    };
    let changed = marks
        .iter()
        .filter(|(id, mark)| before.get(id) != Some(mark))
        .map(|(id, _)| *id);
    let gone = before.keys().filter(|id| !marks.contains_key(id)).copied();
    (changed.chain(gone).collect(), is_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_appeared_or_went_is_found_once() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let memory = Mutex::default();
        let look = |marks: &[(Uuid, u64)]| {
            let (mut ids, is_first) = moved(&memory, marks.iter().copied().collect());
            ids.sort();
            (ids, is_first)
        };
        assert_eq!(look(&[(a, 1), (b, 1)]), (vec![a, b], true));
        assert_eq!(look(&[(a, 1), (b, 1)]), (vec![], false));
        assert_eq!(look(&[(a, 2), (c, 1)]), (vec![a, b, c], false));
        assert_eq!(look(&[(a, 2)]), (vec![c], false));
    }
}
