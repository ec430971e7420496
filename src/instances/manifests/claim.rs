//! Volume claims, outside the StatefulSet's templates: their names, labels and end are ours.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use super::{Input, meta, quantity};

/// One per volume of the template; the sizes sum to the plan's disk.
pub fn claims(input: &Input<'_>) -> Vec<PersistentVolumeClaim> {
    let sizes = input.template.volume_sizes(input.plan.disk_mib);
    sizes
        .into_iter()
        .map(|(volume, size_mib)| PersistentVolumeClaim {
            metadata: meta::object_meta(input, meta::claim_name(&input.instance.name, &volume.name)),
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: Some(input.settings.storage_class.clone()),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([(
                        "storage".to_owned(),
                        quantity::memory(size_mib.into()),
                    )])),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        })
        .collect()
}
