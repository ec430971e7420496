//! The changes of a what-if as they are written, checked, and turned into the engine's.

use std::collections::BTreeMap;

use placement::{Admission, Availability, Cluster, Node, NodeKey, Policy, PolicySpec, Reserve, Resources, what_if};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::problem::FieldError;
use crate::scheduling::basis::Basis;
use crate::scheduling::http::question::{MOST_CPU_MILLI, MOST_DISK_MIB, MOST_MEM_MIB};

/// Nodes of one change, and nodes that join in one question, at most: the places on them are counted by filling them.
const MOST_NODES: u32 = 1000;
/// Kubernetes' default for the pods of a node.
const PODS: i32 = 110;
const MOST_PODS: i32 = 1000;

/// One thing that could change.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WhatIfChange)]
pub(in crate::scheduling::http) enum ChangeBody {
    /// Nodes join.
    AddNodes(AddNodes),
    /// A node is emptied, and takes nothing more.
    Drain(OneNode),
    /// Nodes die, one after the other, each answered before the next.
    Fail(SomeNodes),
    /// Nodes die, those that carry the most first.
    FailLargest(HowMany),
    /// Another policy. What is left out stays as it is; what runs keeps the requests that were written into its pods.
    Policy(PolicyChange),
}

/// Either like a node that there is, or of a size.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfAddNodes)]
pub(in crate::scheduling::http) struct AddNodes {
    like_node_id: Option<Uuid>,
    #[schema(minimum = 1, maximum = 1_024_000)]
    cpu_milli: Option<i32>,
    #[schema(minimum = 1, maximum = 16_777_216)]
    mem_mib: Option<i32>,
    #[schema(minimum = 0, maximum = 1_073_741_824)]
    disk_mib: Option<i32>,
    /// 110, unless told.
    #[schema(minimum = 1, maximum = 1000)]
    pods: Option<i32>,
    #[schema(minimum = 1, maximum = 1000)]
    count: u32,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfDrain)]
pub(in crate::scheduling::http) struct OneNode {
    node_id: Uuid,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfFail)]
pub(in crate::scheduling::http) struct SomeNodes {
    #[schema(min_items = 1, max_items = 1000)]
    node_ids: Vec<Uuid>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfFailLargest)]
pub(in crate::scheduling::http) struct HowMany {
    #[schema(minimum = 1, maximum = 1000)]
    count: u32,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfPolicy)]
pub(in crate::scheduling::http) struct PolicyChange {
    /// 4000000 is 4:1.
    #[schema(minimum = 1_000_000, maximum = 20_000_000)]
    cpu_overcommit_ppm: Option<i64>,
    #[schema(minimum = 1_000_000, maximum = 4_000_000)]
    mem_overcommit_ppm: Option<i64>,
    reserve: Option<ReserveBody>,
}

/// What is kept free.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WhatIfReserve)]
pub(in crate::scheduling::http) enum ReserveBody {
    None,
    /// This part of all CPU, memory and pod slots, in parts per million; 900000 at most.
    FractionPpm(i64),
    NPlusOne,
}

impl From<ReserveBody> for Reserve {
    fn from(reserve: ReserveBody) -> Self {
        match reserve {
            ReserveBody::None => Self::None,
            ReserveBody::FractionPpm(fraction) => Self::FractionPpm(fraction),
            ReserveBody::NPlusOne => Self::NPlusOne,
        }
    }
}

impl ChangeBody {
    /// What is wrong with it, whatever the cluster is like.
    pub fn errors(&self, at: &str) -> Vec<FieldError> {
        let between = |path: &str, count: usize| {
            let right = (1..=MOST_NODES as usize).contains(&count);
            let detail = format!("must be between 1 and {MOST_NODES}");
            (!right).then(|| FieldError::new(format!("{at}/{path}"), detail))
        };
        let count = |path: &str, count: u32| between(path, count as usize).into_iter();
        match self {
            Self::AddNodes(add) => add
                .errors(&format!("{at}/add_nodes"))
                .into_iter()
                .chain(count("add_nodes/count", add.count))
                .collect(),
            Self::Fail(fail) => between("fail/node_ids", fail.node_ids.len()).into_iter().collect(),
            Self::FailLargest(fail) => count("fail_largest/count", fail.count).collect(),
            Self::Drain(_) | Self::Policy(_) => Vec::new(),
        }
    }
}

/// Whether more nodes join in all than may.
pub(super) fn too_many_join(changes: &[ChangeBody]) -> Option<FieldError> {
    let joining = changes.iter().map(|change| match change {
        ChangeBody::AddNodes(add) => u64::from(add.count),
        ChangeBody::Drain(_) | ChangeBody::Fail(_) | ChangeBody::FailLargest(_) | ChangeBody::Policy(_) => 0,
    });
    let too_many = joining.sum::<u64>() > u64::from(MOST_NODES);
    too_many.then(|| FieldError::new("/changes", format!("must not add more than {MOST_NODES} nodes in all")))
}

impl AddNodes {
    fn errors(&self, at: &str) -> Vec<FieldError> {
        let sizes = [
            ("cpu_milli", self.cpu_milli, 1, MOST_CPU_MILLI, true),
            ("mem_mib", self.mem_mib, 1, MOST_MEM_MIB, true),
            ("disk_mib", self.disk_mib, 0, MOST_DISK_MIB, true),
            ("pods", self.pods, 1, MOST_PODS, false),
        ];
        let wrong = sizes.into_iter().filter_map(|(field, value, low, high, needed)| {
            let detail = match (value, self.like_node_id) {
                (Some(_), Some(_)) => "must be left out: the other node says it".to_owned(),
                (None, None) if needed => "is needed without a like_node_id".to_owned(),
                (Some(value), None) if !(low..=high).contains(&value) => format!("must be between {low} and {high}"),
                _ => return None,
            };
            Some(FieldError::new(format!("{at}/{field}"), detail))
        });
        wrong.collect()
    }

    /// Of a size.
    fn node(&self) -> Node {
        let amount = |value: Option<i32>| i64::from(value.unwrap_or(0));
        Node::new(
            NodeKey(0),
            Resources {
                cpu_milli: amount(self.cpu_milli),
                mem_mib: amount(self.mem_mib),
                disk_mib: amount(self.disk_mib),
                pods: amount(self.pods.or(Some(PODS))),
            },
        )
    }
}

/// Turns changes into the engine's, on what is there: nodes by their ids, policies on top of those before.
pub(super) struct Reading<'a> {
    cluster: &'a Cluster,
    spec: PolicySpec,
    policy: Policy,
}

impl<'a> Reading<'a> {
    pub fn new(basis: &'a Basis) -> Self {
        Self {
            cluster: &basis.cluster,
            spec: *basis.policy.spec(),
            policy: basis.policy,
        }
    }

    /// The policy after the changes that were read.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    pub fn all(&mut self, bodies: &[ChangeBody]) -> Result<Vec<what_if::Change>, Vec<FieldError>> {
        let (mut changes, mut errors) = (Vec::new(), Vec::new());
        for (at, body) in bodies.iter().enumerate() {
            match self.one(body) {
                Ok(change) => changes.push(change),
                Err(wrong) => errors.extend(
                    wrong
                        .into_iter()
                        .map(|(path, detail)| FieldError::new(format!("/changes/{at}/{path}"), detail)),
                ),
            }
        }
        if errors.is_empty() { Ok(changes) } else { Err(errors) }
    }

    fn one(&mut self, body: &ChangeBody) -> Result<what_if::Change, BTreeMap<String, String>> {
        use what_if::Change;
        let wrong = |path: &str, detail: String| BTreeMap::from([(path.to_owned(), detail)]);
        Ok(match body {
            ChangeBody::AddNodes(add) => {
                let like = match add.like_node_id {
                    Some(id) => fresh(self.node(id, "add_nodes/like_node_id")?),
                    None => add.node(),
                };
                Change::AddNodes {
                    like: Box::new(like),
                    count: add.count,
                }
            }
            ChangeBody::Drain(drain) => Change::Drain(self.node(drain.node_id, "drain/node_id")?.id),
            ChangeBody::Fail(fail) => {
                let (mut nodes, mut unknown) = (Vec::new(), BTreeMap::new());
                for (at, &id) in fail.node_ids.iter().enumerate() {
                    match self.node(id, &format!("fail/node_ids/{at}")) {
                        Ok(node) => nodes.push(node.id),
                        Err(wrong) => unknown.extend(wrong),
                    }
                }
                if !unknown.is_empty() {
                    return Err(unknown);
                }
                Change::Fail(nodes)
            }
            ChangeBody::FailLargest(fail) => Change::FailLargest(fail.count),
            ChangeBody::Policy(change) => {
                let spec = PolicySpec {
                    cpu_overcommit_ppm: change.cpu_overcommit_ppm.unwrap_or(self.spec.cpu_overcommit_ppm),
                    mem_overcommit_ppm: change.mem_overcommit_ppm.unwrap_or(self.spec.mem_overcommit_ppm),
                    reserve: change.reserve.map_or(self.spec.reserve, Reserve::from),
                    ..self.spec
                };
                self.policy = Policy::new(spec).map_err(|error| {
                    let detail = format!("must be between {} and {}", error.min, error.max);
                    wrong(&format!("policy/{}", error.field.replace('.', "/")), detail)
                })?;
                self.spec = spec;
                Change::Policy(spec)
            }
        })
    }

    fn node(&self, id: Uuid, path: &str) -> Result<&'a Node, BTreeMap<String, String>> {
        let node = self.cluster.node(NodeKey(id.as_u128()));
        node.ok_or_else(|| BTreeMap::from([(path.to_owned(), "is not a worker node".to_owned())]))
    }
}

/// The same machine, new: what happens to the old one now says nothing of it.
fn fresh(node: &Node) -> Node {
    Node {
        availability: Availability::Ready,
        admission: Admission::Open,
        hot: false,
        ..node.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(json: serde_json::Value) -> Vec<String> {
        let body: ChangeBody = serde_json::from_value(json).unwrap();
        body.errors("/changes/0")
            .into_iter()
            .map(|error| error.pointer)
            .collect()
    }

    #[test]
    fn nodes_are_like_another_or_of_a_size_and_not_both() {
        use serde_json::json;
        let like = Uuid::nil();
        for (add, wrong) in [
            (json!({"like_node_id": like, "count": 1}), vec![]),
            (
                json!({"cpu_milli": 1000, "mem_mib": 1024, "disk_mib": 0, "count": 1000}),
                vec![],
            ),
            (json!({"count": 1}), vec!["cpu_milli", "mem_mib", "disk_mib"]),
            (
                json!({"like_node_id": like, "pods": 1, "count": 0}),
                vec!["pods", "count"],
            ),
            (
                json!({"cpu_milli": 0, "mem_mib": 1, "disk_mib": 1, "pods": 0, "count": 1001}),
                vec!["cpu_milli", "pods", "count"],
            ),
        ] {
            let wrong: Vec<_> = wrong
                .into_iter()
                .map(|field| format!("/changes/0/add_nodes/{field}"))
                .collect();
            assert_eq!(pointers(json!({"add_nodes": add})), wrong, "{add}");
        }
        let many: ChangeBody =
            serde_json::from_value(json!({"add_nodes": {"like_node_id": like, "count": 500}})).unwrap();
        let many = vec![many; 3];
        assert_eq!(too_many_join(&many[..2]), None);
        assert_eq!(too_many_join(&many).unwrap().pointer, "/changes");
        assert_eq!(
            pointers(json!({"fail": {"node_ids": []}})),
            ["/changes/0/fail/node_ids"]
        );
        assert_eq!(
            pointers(json!({"fail_largest": {"count": 0}})),
            ["/changes/0/fail_largest/count"]
        );
    }

    #[test]
    fn every_wrong_node_and_policy_is_named_and_policies_add_up() {
        use serde_json::json;
        let basis = Basis {
            cluster: Cluster::from_parts([Node::new(NodeKey(1), Resources::ZERO)], []).unwrap(),
            ..Basis::default()
        };
        let bodies = |json: serde_json::Value| serde_json::from_value::<Vec<ChangeBody>>(json).unwrap();
        let (known, unknown) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let wrong = bodies(json!([
            {"drain": {"node_id": known}},
            {"fail": {"node_ids": [unknown, known, unknown]}},
            {"policy": {"reserve": {"fraction_ppm": 900_001}}},
            {"policy": {"cpu_overcommit_ppm": 0}},
        ]));
        let errors = Reading::new(&basis).all(&wrong).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/changes/1/fail/node_ids/0",
                "/changes/1/fail/node_ids/2",
                "/changes/2/policy/reserve/fraction_ppm",
                "/changes/3/policy/cpu_overcommit_ppm"
            ]
        );
        let right = bodies(json!([
            {"policy": {"cpu_overcommit_ppm": 2_000_000}},
            {"policy": {"reserve": "n_plus_one"}},
        ]));
        let mut reading = Reading::new(&basis);
        assert_eq!(reading.all(&right).unwrap().len(), 2);
        let spec = *reading.policy().spec();
        assert_eq!((spec.cpu_overcommit_ppm, spec.reserve), (2_000_000, Reserve::NPlusOne));
    }
}
