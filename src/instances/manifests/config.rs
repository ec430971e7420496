//! Config files: one ConfigMap for all of an instance, a key per file.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Volume, VolumeMount};

use super::{Error, Input, facts, meta, shares};
use crate::catalog::template::Component;

const VOLUME: &str = "config";

/// Rendered contents by key; empty when the template has no config files.
pub fn contents(input: &Input<'_>) -> Result<BTreeMap<String, String>, Error> {
    let mut contents = BTreeMap::new();
    for (component, part) in input.template.components.iter().zip(shares::components(input)) {
        for (i, file) in component.config_files.iter().enumerate() {
            let text = facts::facts(input, part)?.render(&file.path, &file.content)?;
            contents.insert(key(component, i), text);
        }
    }
    Ok(contents)
}

fn key(component: &Component, index: usize) -> String {
    format!("{}.{index}", component.name)
}

pub fn config_map(input: &Input<'_>) -> Result<Option<ConfigMap>, Error> {
    let data = contents(input)?;
    Ok((!data.is_empty()).then(|| ConfigMap {
        metadata: meta::object_meta(input, input.instance.name.clone()),
        data: Some(data),
        ..ConfigMap::default()
    }))
}

pub fn volume(input: &Input<'_>) -> Option<Volume> {
    let any = input
        .template
        .components
        .iter()
        .any(|component| !component.config_files.is_empty());
    any.then(|| Volume {
        name: VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: input.instance.name.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    })
}

/// File by file: mounting a directory would hide what the image has beside them.
pub fn mounts(component: &Component) -> impl Iterator<Item = VolumeMount> {
    component.config_files.iter().enumerate().map(|(i, file)| VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: file.path.clone(),
        sub_path: Some(key(component, i)),
        read_only: Some(true),
        ..VolumeMount::default()
    })
}
