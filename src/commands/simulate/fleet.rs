//! The machines: what the scenario says of them, and what has become of them by now.

use placement::{Admission, Availability, Node, NodeKey, Resources};

use super::{
    report::{Kind, Mark},
    scenario::Scenario,
};

#[derive(Clone, Debug)]
pub struct Machine {
    /// As it is when nothing is wrong.
    usual: Node,
    /// The number of the incident that keeps it down, or empties it.
    pub down: Option<usize>,
    pub draining: Option<usize>,
    pub hot: bool,
    pub marks: Vec<Mark>,
    pub cpu_ppm: Vec<i64>,
    pub mem_ppm: Vec<i64>,
}

impl Machine {
    /// As the engine is told of it now.
    pub fn node(&self) -> Node {
        let mut node = self.usual.clone();
        if self.down.is_some() {
            node.availability = Availability::Offline;
        }
        if self.draining.is_some() {
            node.admission = Admission::Draining;
        }
        node.hot = self.hot;
        node
    }

    pub fn key(&self) -> NodeKey {
        self.usual.id
    }

    pub fn name(&self) -> &str {
        &self.usual.name
    }

    pub fn class(&self) -> &str {
        &self.usual.class
    }

    pub fn allocatable(&self) -> Resources {
        self.usual.allocatable
    }

    pub fn is_up(&self) -> bool {
        self.down.is_none()
    }

    pub fn begin(&mut self, kind: Kind, at: i64, absorbed: bool) {
        self.marks.push(Mark {
            kind,
            from: at,
            to: None,
            absorbed,
        });
    }

    pub fn end(&mut self, kind: Kind, at: i64) {
        let open = self
            .marks
            .iter_mut()
            .rev()
            .find(|mark| mark.kind == kind && mark.to.is_none());
        if let Some(mark) = open {
            mark.to = Some(at);
        }
    }
}

/// All machines of a scenario, in the order of the file; keys count from one.
pub fn machines(scenario: &Scenario) -> Vec<Machine> {
    let groups = scenario
        .nodes
        .iter()
        .flat_map(|group| std::iter::repeat_n(group, group.count as usize));
    let named = groups.zip(scenario.machine_names());
    let machine = |(at, (group, name)): (usize, (&super::scenario::Machines, String))| {
        let allocatable = Resources {
            cpu_milli: group.cpu_milli,
            mem_mib: group.mem_mib,
            disk_mib: group.disk_mib,
            pods: group.pods,
        };
        let usual = Node {
            name,
            foreign: group.foreign,
            labels: group.labels.clone(),
            admission: group.admission,
            zone: group.zone.clone(),
            class: group.class.clone(),
            cpu_speed_ppm: group.cpu_speed_ppm,
            ..Node::new(NodeKey(at as u128 + 1), allocatable)
        };
        Machine {
            usual,
            down: None,
            draining: None,
            hot: false,
            marks: Vec::new(),
            cpu_ppm: Vec::new(),
            mem_ppm: Vec::new(),
        }
    };
    named.enumerate().map(machine).collect()
}
