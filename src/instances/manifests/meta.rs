//! Names and labels. Names are functions of the row, so that a crash between two applies leaves nothing to search for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use uuid::Uuid;

use super::{Input, InstanceFacts};
use crate::kube::{LABEL_ACCOUNT, LABEL_INSTANCE, LABEL_SUBSCRIPTION};

pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Value of [`COMPONENT`] on the StatefulSet's pod.
pub const WORKLOAD: &str = "workload";
/// Value of [`COMPONENT`] on setup and verify pods.
pub const TASK: &str = "task";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lumbung");
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "lumbung");

/// The StatefulSet has one replica, hence one pod name.
pub fn pod_name(instance: &str) -> String {
    format!("{instance}-0")
}

pub fn claim_name(instance: &str, volume: &str) -> String {
    format!("{instance}-{volume}")
}

pub fn service_name(instance: &str) -> String {
    instance.to_owned()
}

/// Where cert-manager puts the certificate.
pub fn tls_secret_name(instance: &str) -> String {
    format!("{instance}-tls")
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Labels of what belongs to a customer rather than to one instance.
pub fn account_labels(user_id: Uuid) -> BTreeMap<String, String> {
    map(&[MANAGED_BY, PART_OF, (LABEL_ACCOUNT, &user_id.to_string())])
}

/// Labels of every object of an instance.
pub fn labels(input: &Input<'_>) -> BTreeMap<String, String> {
    let InstanceFacts {
        id,
        name,
        user_id,
        subscription_id,
        ..
    } = input.instance;
    let mut labels = account_labels(*user_id);
    labels.extend(map(&[
        ("app.kubernetes.io/name", &input.template.slug),
        ("app.kubernetes.io/instance", name),
        (LABEL_INSTANCE, &id.to_string()),
        (LABEL_SUBSCRIPTION, &subscription_id.to_string()),
    ]));
    if is_label_value(&input.template.version) {
        labels.insert("app.kubernetes.io/version".to_owned(), input.template.version.clone());
    }
    labels
}

pub fn component_labels(input: &Input<'_>, component: &str) -> BTreeMap<String, String> {
    let mut labels = labels(input);
    labels.insert(COMPONENT.to_owned(), component.to_owned());
    labels
}

/// Matches the instance's pod, and not the tasks beside it. A StatefulSet's selector can never change, so it names
/// nothing but what the instance is.
pub fn instance_selector(id: Uuid) -> BTreeMap<String, String> {
    map(&[(COMPONENT, WORKLOAD), (LABEL_INSTANCE, &id.to_string())])
}

pub fn selects(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

pub fn object_meta(input: &Input<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(input.namespace.to_owned()),
        labels: Some(labels(input)),
        ..ObjectMeta::default()
    }
}

fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::is_label_value;

    #[test]
    fn a_version_becomes_a_label_only_where_it_may() {
        for (text, may) in [
            ("2.39.7", true),
            ("1.0-rc_1", true),
            ("1.0+git", false),
            ("", false),
            ("-1", false),
        ] {
            assert_eq!(is_label_value(text), may, "{text}");
        }
        assert!(!is_label_value(&"1".repeat(64)));
    }
}
