//! Random clusters, workloads and histories for the property tests. Amounts are small, so that limits are met often.

use lumbung_placement::{
    Admission, Availability, Labels, Node, NodeKey, Policy, PolicySpec, Reserve, Resources, Taint, TaintEffect,
    Toleration, VolumeLocality, Workload, WorkloadKey,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::amounts;

pub const NODES: u128 = 6;

#[derive(Clone, Debug)]
pub enum Step {
    Place(Box<Workload>),
    Remove(WorkloadKey),
    Availability(NodeKey, Availability),
    Admission(NodeKey, Admission),
}

pub fn node_key() -> impl Strategy<Value = NodeKey> {
    (1..=NODES).prop_map(NodeKey)
}

fn resources(cpu: i64, mem: i64, disk: i64, pods: i64) -> impl Strategy<Value = Resources> {
    (0..=cpu, 0..=mem, 0..=disk, 0..=pods).prop_map(|(cpu, mem, disk, pods)| amounts(cpu, mem, disk, pods))
}

fn zone() -> impl Strategy<Value = Labels> {
    select(vec!["a", "b"]).prop_map(|zone| [("zone".to_owned(), zone.to_owned())].into())
}

fn taints() -> impl Strategy<Value = Vec<Taint>> {
    let effect = select(vec![
        TaintEffect::NoSchedule,
        TaintEffect::PreferNoSchedule,
        TaintEffect::NoExecute,
    ]);
    let taint = (select(vec!["db", "gpu"]), effect);
    let taint = taint.prop_map(|(key, effect)| Taint {
        key: key.to_owned(),
        value: String::new(),
        effect,
    });
    prop_oneof![3 => Just(Vec::new()), 1 => vec(taint, 1..3)]
}

pub fn availability() -> impl Strategy<Value = Availability> {
    prop_oneof![4 => Just(Availability::Ready), 1 => Just(Availability::Suspect), 1 => Just(Availability::Offline)]
}

pub fn admission() -> impl Strategy<Value = Admission> {
    prop_oneof![
        5 => Just(Admission::Open),
        1 => Just(Admission::Standby),
        1 => Just(Admission::Cordoned),
        1 => Just(Admission::Draining),
    ]
}

fn storage() -> impl Strategy<Value = &'static str> {
    select(vec!["local-path", "longhorn"])
}

prop_compose! {
    fn node_values()(
        allocatable in resources(40, 40, 40, 12),
        foreign in resources(8, 8, 8, 2),
        labels in zone(),
        taints in taints(),
        availability in availability(),
        admission in admission(),
        class in storage(),
    ) -> Node {
        Node {
            foreign,
            labels,
            taints,
            availability,
            admission,
            storage_classes: [class.to_owned()].into(),
            ..Node::new(NodeKey(0), allocatable)
        }
    }
}

/// Up to six nodes with keys from 1.
pub fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let most = usize::try_from(NODES).unwrap();
    vec(node_values(), 1..=most).prop_map(|nodes| {
        let keys = (1..).map(NodeKey);
        let named = nodes.into_iter().zip(keys);
        named
            .map(|(node, id)| Node {
                name: format!("node-{}", id.0),
                id,
                ..node
            })
            .collect()
    })
}

fn volume() -> impl Strategy<Value = VolumeLocality> {
    prop_oneof![
        6 => Just(VolumeLocality::Anywhere),
        1 => node_key().prop_map(VolumeLocality::Pinned),
        1 => vec(node_key(), 1..3).prop_map(|keys| VolumeLocality::OneOf(keys.into_iter().collect())),
    ]
}

prop_compose! {
    pub fn workload()(
        id in 1_u128..20,
        request in resources(9, 9, 9, 1),
        selector in prop_oneof![3 => Just(Labels::new()), 1 => zone()],
        tolerated in prop_oneof![2 => Just(None), 1 => select(vec!["db", "gpu"]).prop_map(Some)],
        class in prop_oneof![3 => Just(None), 1 => storage().prop_map(Some)],
        volume in volume(),
    ) -> Workload {
        Workload {
            selector,
            tolerations: tolerated.into_iter().map(|key| Toleration { key: Some(key.to_owned()), ..Toleration::default() }).collect(),
            storage_class: class.map(str::to_owned),
            volume,
            ..Workload::new(WorkloadKey(id), request, Resources::ZERO)
        }
    }
}

prop_compose! {
    pub fn policy()(
        reserve in prop_oneof![2 => Just(Reserve::None), 1 => (0_i64..=900_000).prop_map(Reserve::FractionPpm)],
        setup_reserve in resources(3, 3, 3, 2),
    ) -> Policy {
        Policy::new(PolicySpec { reserve, setup_reserve, ..PolicySpec::default() }).unwrap()
    }
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => workload().prop_map(|workload| Step::Place(Box::new(workload))),
        2 => (1_u128..20).prop_map(|id| Step::Remove(WorkloadKey(id))),
        1 => (node_key(), availability()).prop_map(|(node, state)| Step::Availability(node, state)),
        1 => (node_key(), admission()).prop_map(|(node, state)| Step::Admission(node, state)),
    ];
    vec(step, 0..60)
}
