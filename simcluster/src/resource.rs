//! The kinds that the simulated cluster serves: one static table, in the order of discovery.
//!
//! Everything that depends on the kind alone (path, scope, subresources, whether `generation` is kept) is read from
//! here. A kind that is not in the table does not exist for clients: its group answers 404, its resource likewise.

/// One served kind. Compare by address or by `plural` and `group`; there is one static value per kind.
#[derive(Debug)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    /// kubectl's short names.
    pub short: &'static [&'static str],
    pub namespaced: bool,
    /// Whether `metadata.generation` is kept: 1 at creation, one more for each change of spec.
    pub has_generation: bool,
    pub subresources: &'static [&'static str],
}

impl Kind {
    /// `v1` or `apps/v1`, as in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `statefulsets.apps`, `pods`: how messages name the resource.
    pub fn qualified(&self) -> String {
        self.in_group(self.plural)
    }

    /// `StatefulSet.apps`, `Pod`: how validation messages name the kind.
    pub fn qualified_kind(&self) -> String {
        self.in_group(self.kind)
    }

    fn in_group(&self, name: &str) -> String {
        if self.group.is_empty() { name.to_owned() } else { format!("{name}.{}", self.group) }
    }

    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Whether `status` is a part of its own, which writes to the main resource leave alone.
    pub fn has_status(&self) -> bool {
        self.has("status")
    }

    pub fn is(&self, other: &Kind) -> bool {
        std::ptr::eq(self, other)
    }

    /// Its place in `ALL`.
    pub(crate) fn place(&self) -> usize {
        ALL.iter().position(|kind| kind.is(self)).unwrap_or_default()
    }
}

macro_rules! kinds {
    ($($name:ident: $group:literal $version:literal $kind:literal $plural:literal $singular:literal
       [$($short:literal),*] $scope:ident $generation:ident [$($sub:literal),*];)*) => {
        $(pub static $name: Kind = Kind {
            group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
            short: &[$($short),*], namespaced: kinds!(@scope $scope), has_generation: kinds!(@generation $generation),
            subresources: &[$($sub),*],
        };)*
        /// Every served kind.
        pub static ALL: &[&Kind] = &[$(&$name),*];
    };
    (@scope namespaced) => { true };
    (@scope cluster) => { false };
    (@generation counted) => { true };
    (@generation uncounted) => { false };
}

kinds! {
    CONFIG_MAP: "" "v1" "ConfigMap" "configmaps" "configmap" ["cm"] namespaced uncounted [];
    EVENT: "" "v1" "Event" "events" "event" ["ev"] namespaced uncounted [];
    LIMIT_RANGE: "" "v1" "LimitRange" "limitranges" "limitrange" ["limits"] namespaced uncounted [];
    NAMESPACE: "" "v1" "Namespace" "namespaces" "namespace" ["ns"] cluster uncounted ["status"];
    NODE: "" "v1" "Node" "nodes" "node" ["no"] cluster uncounted ["status"];
    PERSISTENT_VOLUME_CLAIM: "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" "persistentvolumeclaim" ["pvc"] namespaced uncounted ["status"];
    PERSISTENT_VOLUME: "" "v1" "PersistentVolume" "persistentvolumes" "persistentvolume" ["pv"] cluster uncounted ["status"];
    POD: "" "v1" "Pod" "pods" "pod" ["po"] namespaced counted ["eviction", "log", "resize", "status"];
    RESOURCE_QUOTA: "" "v1" "ResourceQuota" "resourcequotas" "resourcequota" ["quota"] namespaced uncounted ["status"];
    SECRET: "" "v1" "Secret" "secrets" "secret" [] namespaced uncounted [];
    SERVICE_ACCOUNT: "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" ["sa"] namespaced uncounted ["token"];
    SERVICE: "" "v1" "Service" "services" "service" ["svc"] namespaced uncounted ["status"];
    STATEFUL_SET: "apps" "v1" "StatefulSet" "statefulsets" "statefulset" ["sts"] namespaced counted ["scale", "status"];
    SELF_SUBJECT_ACCESS_REVIEW: "authorization.k8s.io" "v1" "SelfSubjectAccessReview" "selfsubjectaccessreviews" "selfsubjectaccessreview" [] cluster uncounted [];
    LEASE: "coordination.k8s.io" "v1" "Lease" "leases" "lease" [] namespaced uncounted [];
    INGRESS: "networking.k8s.io" "v1" "Ingress" "ingresses" "ingress" ["ing"] namespaced counted ["status"];
    NETWORK_POLICY: "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" "networkpolicy" ["netpol"] namespaced counted [];
    CLUSTER_ROLE_BINDING: "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" "clusterrolebinding" [] cluster uncounted [];
    CLUSTER_ROLE: "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" "clusterrole" [] cluster uncounted [];
    ROLE_BINDING: "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" "rolebinding" [] namespaced uncounted [];
    ROLE: "rbac.authorization.k8s.io" "v1" "Role" "roles" "role" [] namespaced uncounted [];
    PRIORITY_CLASS: "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" "priorityclass" ["pc"] cluster counted [];
    STORAGE_CLASS: "storage.k8s.io" "v1" "StorageClass" "storageclasses" "storageclass" ["sc"] cluster uncounted [];
    VOLUME_ATTACHMENT: "storage.k8s.io" "v1" "VolumeAttachment" "volumeattachments" "volumeattachment" [] cluster uncounted ["status"];
}

/// The kind served under this group, version and plural name.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// The kind of an object, by its `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.kind == kind && k.api_version() == api_version)
}

/// Whether any served kind is in this group and version.
pub fn has_group_version(group: &str, version: &str) -> bool {
    ALL.iter().any(|k| k.group == group && k.version == version)
}
