//! What a cluster does not take.

use std::fmt;

use crate::{NodeKey, Resources, WorkloadKey, resources::Dimension};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterError {
    UnknownNode(NodeKey),
    /// The node cannot be forgotten while something is assigned to it.
    NodeInUse {
        node: NodeKey,
        workloads: usize,
    },
    NodeOutOfRange {
        node: NodeKey,
        field: &'static str,
        dimension: Dimension,
    },
    RequestOutOfRange {
        workload: WorkloadKey,
        dimension: Dimension,
    },
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = Resources::MAX_AMOUNT;
        match self {
            Self::UnknownNode(node) => write!(f, "there is no node {node}"),
            Self::NodeInUse { node, workloads } => {
                write!(f, "{workloads} workloads are still assigned to node {node}")
            }
            Self::NodeOutOfRange { node, field, dimension } => {
                write!(f, "{field} {dimension} of node {node} has to be between 0 and {most}")
            }
            Self::RequestOutOfRange { workload, dimension } => {
                write!(
                    f,
                    "the requested {dimension} of workload {workload} has to be between 0 and {most}"
                )
            }
        }
    }
}

impl std::error::Error for ClusterError {}
