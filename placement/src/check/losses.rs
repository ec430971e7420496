//! What would happen if one node died: every certificate on its own, then every node against every single loss.

use std::collections::BTreeMap;

use super::{Violation, amounts};
use crate::{
    GroupKey, NodeKey, WorkloadKey,
    model::{Admission, Availability, Node, Placement, Priority, TaintEffect, Topology, VolumeLocality, Workload},
};

type Nodes<'a> = BTreeMap<NodeKey, &'a Node>;
/// A node, or all nodes of a zone.
type Place = (String, Option<NodeKey>);
type Member<'a> = (&'a Workload, NodeKey);
type Workloads<'a> = BTreeMap<WorkloadKey, &'a Workload>;

/// Where the members of a group are counted together.
fn place(node: &Node, across: Topology) -> Place {
    match across {
        Topology::Zone if !node.zone.is_empty() => (node.zone.clone(), None),
        Topology::Zone | Topology::Node => (String::new(), Some(node.id)),
    }
}

pub(super) fn crowds(
    nodes: &Nodes<'_>,
    workloads: &Workloads<'_>,
    placements: &[Placement],
    found: &mut Vec<Violation>,
) {
    let mut by_place: BTreeMap<(GroupKey, Topology, Place), Vec<Member<'_>>> = BTreeMap::new();
    for placement in placements {
        let pair = nodes.get(&placement.node).zip(workloads.get(&placement.workload));
        let Some((node, workload)) = pair else { continue };
        let Some(spread) = workload.spread else { continue };
        for across in [Topology::Node, Topology::Zone] {
            let place = (spread.group, across, place(node, across));
            by_place.entry(place).or_default().push((workload, node.id));
        }
    }
    for ((group, across, _), members) in by_place {
        let limits = members
            .iter()
            .filter_map(|(workload, _)| workload.spread.filter(|spread| spread.across == across)?.most);
        let count = u64::try_from(members.len()).unwrap_or(u64::MAX);
        if let Some(most) = limits.min().filter(|&most| count > u64::from(most)) {
            found.push(Violation::GroupCrowded {
                group,
                node: members[0].1,
                workloads: count,
                most,
            });
        }
    }
}

/// No loss may bring more of a group together than may be: whoever is insured in a place counts there.
pub(super) fn insured_crowds(
    nodes: &Nodes<'_>,
    workloads: &Workloads<'_>,
    placements: &[Placement],
    found: &mut Vec<Violation>,
) {
    let mut groups: BTreeMap<GroupKey, Vec<(&Placement, &Workload)>> = BTreeMap::new();
    for placement in placements {
        let Some(workload) = workloads.get(&placement.workload) else {
            continue;
        };
        if let Some(spread) = workload.spread {
            groups.entry(spread.group).or_default().push((placement, workload));
        }
    }
    for (group, members) in groups {
        for (insured, workload) in &members {
            let limit = workload.spread.and_then(|spread| Some((spread.across, spread.most?)));
            let Some(((across, most), backup)) = limit.zip(insured.backup) else {
                continue;
            };
            let Some(target) = nodes.get(&backup).map(|node| place(node, across)) else {
                continue;
            };
            let lost = insured.node;
            let comes = |member: &Placement| {
                let after = if member.node == lost {
                    member.backup
                } else {
                    Some(member.node)
                };
                let node = after.and_then(|after| nodes.get(&after));
                node.is_some_and(|node| place(node, across) == target)
            };
            let there = members.iter().filter(|(member, _)| comes(member)).count();
            let count = u64::try_from(there).unwrap_or(u64::MAX);
            if count > u64::from(most) {
                found.push(Violation::GroupCrowded {
                    group,
                    node: backup,
                    workloads: count,
                    most,
                });
            }
        }
    }
}

pub(super) fn certificates(
    nodes: &Nodes<'_>,
    workloads: &Workloads<'_>,
    placements: &[Placement],
    found: &mut Vec<Violation>,
) {
    // What runs where under protection, and what each loss brings to whom.
    let mut protected: BTreeMap<NodeKey, [i128; 4]> = BTreeMap::new();
    let mut inflow: BTreeMap<(NodeKey, NodeKey), [i128; 4]> = BTreeMap::new();
    for placement in placements {
        let Some(workload) = workloads.get(&placement.workload) else {
            continue;
        };
        let add = |sum: &mut [i128; 4]| {
            for (total, (_, amount)) in sum.iter_mut().zip(amounts(&workload.request)) {
                *total += i128::from(amount);
            }
        };
        if workload.priority == Priority::Protected {
            add(protected.entry(placement.node).or_default());
        }
        let Some(backup) = placement.backup else { continue };
        add(inflow.entry((placement.node, backup)).or_default());
        let able = nodes.get(&backup).is_some_and(|node| can_take(node, workload));
        if !able || backup == placement.node {
            found.push(Violation::BackupUnfit {
                workload: workload.id,
                node: backup,
            });
        }
    }
    for ((lost, at), coming) in inflow {
        let Some(node) = nodes.get(&at) else { continue };
        let staying = protected.get(&at).copied().unwrap_or_default();
        let rows = amounts(&node.allocatable)
            .into_iter()
            .zip(amounts(&node.foreign))
            .zip(staying)
            .zip(coming);
        for ((((dimension, allocatable), (_, foreign)), staying), coming) in rows {
            let requested = i128::from(foreign) + staying + coming;
            if coming > 0 && requested > i128::from(allocatable) {
                found.push(Violation::LossNotAbsorbed {
                    lost,
                    node: at,
                    dimension,
                    requested,
                    allocatable,
                });
            }
        }
    }
}

fn can_take(node: &Node, workload: &Workload) -> bool {
    let open = matches!(node.admission, Admission::Open | Admission::Standby);
    let data = workload.movable
        && match &workload.volume {
            VolumeLocality::Anywhere => true,
            VolumeLocality::Pinned(home) => *home == node.id,
            VolumeLocality::OneOf(homes) => homes.iter().any(|home| *home == node.id),
        };
    let labels = workload
        .selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let class = workload
        .storage_class
        .as_ref()
        .is_none_or(|class| node.storage_classes.contains(class));
    let walls = node
        .taints
        .iter()
        .filter(|taint| taint.effect != TaintEffect::PreferNoSchedule);
    let tainted = walls.into_iter().any(|taint| {
        let same = |asked: &Option<String>, is: &String| asked.as_ref().is_none_or(|asked| asked == is);
        !workload.tolerations.iter().any(|toleration| {
            same(&toleration.key, &taint.key)
                && same(&toleration.value, &taint.value)
                && toleration.effect.is_none_or(|effect| effect == taint.effect)
        })
    });
    node.availability == Availability::Ready && open && data && labels && class && !tainted
}
