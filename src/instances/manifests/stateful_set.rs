//! The StatefulSet: one replica or none, replaced only when the reconciler deletes its pod.
//!
//! `OnDelete`, because a rolling update waits for ever for a pod that is broken, and a broken pod is what most often
//! needs a corrected spec.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Error, Input, digest, meta, pod};
use crate::kube::ANNOTATION_GENERATION;

/// On the pod template: the restart that the customer asked for, and what the pod reads at its start.
pub const ANNOTATION_RESTART: &str = "lumbung.dev/restart";
pub const ANNOTATION_CONTENT: &str = "lumbung.dev/content";

pub fn stateful_set(input: &Input<'_>) -> Result<StatefulSet, Error> {
    let instance = input.instance;
    let spec = pod::pod(input)?;
    let restart = instance.restart_no.to_string();
    let content = digest::digest(input, &spec)?;
    let mut metadata = meta::object_meta(input, instance.name.clone());
    // Here and not on the pod template: a new generation with the same spec rolls nothing.
    metadata.annotations = Some(meta::map(&[(ANNOTATION_GENERATION, &instance.generation.to_string())]));
    Ok(StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(input.running.into()),
            revision_history_limit: Some(2),
            selector: meta::selects(meta::instance_selector(instance.id)),
            service_name: Some(meta::service_name(&instance.name)),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(meta::component_labels(input, meta::WORKLOAD)),
                    annotations: Some(meta::map(&[
                        (ANNOTATION_RESTART, &restart),
                        (ANNOTATION_CONTENT, &content),
                    ])),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec),
            },
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}
