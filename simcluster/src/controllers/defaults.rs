//! What every namespace gets by itself: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.

use serde_json::{Value, json};

use super::{Controller, Ctx, Queue, Seen, View, view::is_deleting};
use crate::{
    resource::{self, Kind},
    store::Key,
};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const ABOUT_ROOT_CA: &str = "Contains a CA bundle for the cluster's internal API addresses. This cluster is simulated.";

/// Keys are namespaces.
pub(super) struct Defaults;

impl Controller for Defaults {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if seen.is(&resource::NAMESPACE) {
            queue.add(seen.key.clone());
        } else if seen.new.is_none()
            && (seen.is(&resource::SERVICE_ACCOUNT) && seen.key.1 == ACCOUNT
                || seen.is(&resource::CONFIG_MAP) && seen.key.1 == ROOT_CA)
        {
            queue.add((String::new(), seen.key.0.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let Some(namespace) = ctx.view.get(&resource::NAMESPACE, "", &key.1) else {
            return;
        };
        if is_deleting(namespace) {
            return;
        }
        let ensure = |kind: &'static Kind, object: Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if ctx.cluster.get(kind, &key.1, name).is_none() {
                // Refused only when the namespace goes away, and then nobody needs it.
                let _ = ctx.cluster.create(kind, &key.1, object, "kube-controller-manager");
            }
        };
        ensure(&resource::SERVICE_ACCOUNT, json!({"metadata": {"name": ACCOUNT}}));
        ensure(
            &resource::CONFIG_MAP,
            json!({
                "metadata": {"name": ROOT_CA, "annotations": {"kubernetes.io/description": ABOUT_ROOT_CA}},
                "data": {"ca.crt": ""},
            }),
        );
    }
}
