//! Which node may fail now: the engine's answer for the cluster as it is, control plane included.

use placement::{Cluster, ControlPlane, Resilience};

use super::basis::Basis;

/// A node that carries one of these runs the cluster's control plane; the second is what older clusters call it.
const CONTROL_PLANE: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

pub fn of(basis: &Basis) -> Resilience {
    placement::resilience(&basis.cluster, &basis.policy, control_plane(&basis.cluster))
}

/// By their labels. A node that was taken away and is still listed is no machine that could vote.
fn control_plane(cluster: &Cluster) -> ControlPlane {
    let servers = cluster.nodes().filter(|node| {
        node.admission != placement::Admission::Removed
            && CONTROL_PLANE.iter().any(|label| node.labels.contains_key(*label))
    });
    ControlPlane::new(servers.map(|node| node.id))
}

#[cfg(test)]
mod tests {
    use placement::{Admission, Node, NodeKey, Resources};

    use super::*;

    #[test]
    fn servers_are_known_by_either_label() {
        let node = |id, label: Option<&str>, admission| Node {
            labels: label
                .map(|label| (label.to_owned(), "true".to_owned()))
                .into_iter()
                .collect(),
            admission,
            ..Node::new(NodeKey(id), Resources::ZERO)
        };
        let nodes = [
            node(1, Some(CONTROL_PLANE[0]), Admission::Open),
            node(2, Some(CONTROL_PLANE[1]), Admission::Cordoned),
            node(3, None, Admission::Open),
            node(4, Some(CONTROL_PLANE[0]), Admission::Removed),
        ];
        let found = control_plane(&Cluster::from_parts(nodes, []).unwrap());
        assert_eq!(found, ControlPlane::new([NodeKey(1), NodeKey(2)]));
        assert!(!found.survives(NodeKey(1)) && found.survives(NodeKey(3)));
    }
}
