//! What is packed: the sets of the traces, or a small generated one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use placement::{Dimension, Resources};

use crate::data;
use crate::fleet;
use crate::random::Random;
use crate::tasks::Context;

pub struct Set {
    pub name: String,
    /// In the order of arrival.
    pub pods: Vec<Resources>,
    nodes: Vec<Resources>,
}

pub fn all(context: &Context) -> Result<Vec<Set>> {
    let Some(dir) = &context.data else {
        return Ok(vec![generated(context)]);
    };
    let mut sets = Vec::new();
    for (name, pods, nodes) in data::pod_sets(dir)? {
        let mut pods = data::pods(&pods)?;
        pods.sort_by_key(|pod| pod.created);
        sets.push(Set {
            name,
            pods: pods.into_iter().map(|pod| pod.request).collect(),
            nodes: data::nodes(&nodes)?,
        });
    }
    Ok(sets)
}

/// Plans of the usual mix, each with one of a few sizes of disk, on the first user's second machine.
fn generated(context: &Context) -> Set {
    let mut random = Random::new(context.seed);
    let pods = (0..if context.quick { 500 } else { 3000 }).map(|_| {
        let plan = fleet::draw(&mut random);
        Resources {
            disk_mib: 1024 * [1, 5, 10, 20][random.below(4)],
            ..plan
        }
    });
    Set {
        name: "plan mix".into(),
        pods: pods.collect(),
        nodes: vec![Resources {
            disk_mib: 256 * 1024,
            ..fleet::MACHINES[1]
        }],
    }
}

impl Set {
    /// Up to three classes: the most numerous one; a smaller one of much the same memory per CPU; the next most numerous.
    pub fn classes(&self) -> Vec<Resources> {
        let mut counts: BTreeMap<Resources, usize> = BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(*node).or_insert(0) += 1;
        }
        let mut classes: Vec<(Resources, usize)> = counts.into_iter().collect();
        classes.sort_by_key(|&(class, count)| (Reverse(count), class));
        let Some(&(first, _)) = classes.first() else {
            return Vec::new();
        };
        let mut chosen = vec![first];
        let smaller = classes
            .iter()
            .filter(|(class, _)| class.cpu_milli * 2 <= first.cpu_milli && self.holds_most(*class))
            .min_by_key(|&&(class, count)| (unlike(class, first), Reverse(count)));
        chosen.extend(smaller.map(|(class, _)| *class));
        for (class, _) in classes {
            if chosen.len() < 3 && !chosen.contains(&class) && self.holds_most(class) {
                chosen.push(class);
            }
        }
        chosen
    }

    fn holds_most(&self, class: Resources) -> bool {
        let held = self.pods.iter().filter(|pod| class.shortage(**pod).is_zero()).count();
        held * 10 >= self.pods.len() * 9
    }
}

/// How far apart two classes are in memory per CPU, in parts per million.
fn unlike(class: Resources, other: Resources) -> i64 {
    let per_cpu = |class: Resources| class.mem_mib * 1_000_000 / class.cpu_milli.max(1);
    (per_cpu(class) - per_cpu(other)).abs()
}

/// "96c/384G", and the disk where the class has any.
pub fn label(class: Resources) -> String {
    let node = format!("{}c/{}G", class.cpu_milli as f64 / 1000.0, class.mem_mib / 1024);
    match class.get(Dimension::Disk) {
        0 => node,
        disk => format!("{node}/{}G disk", disk / 1024),
    }
}
