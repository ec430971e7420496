//! Machines fail, return, and are drained, as the server does it: tell the engine of the node, ask for a plan, carry it
//! out, mend the certificates. After every one of them the independent checker is asked.
//!
//! Who finds no place stays on the books of the lost machine, stands still, and is searched for again within a minute
//! after room has come, or when the machines that decide are back.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use placement::{
    Cause, Cluster, ClusterError, NodeKey, Plan, Policy, Priority, Workload, WorkloadKey, apply, drain, failover,
    place, recertify,
};

use super::{
    agenda::Happening,
    report::{Incident, Kind},
    run::World,
};

/// How soon after a departure those who stand still are looked at again.
const RETRY_SECONDS: i64 = 60;

/// Failover or drain.
type Planner = fn(&Cluster, &Policy, NodeKey) -> Result<Plan, ClusterError>;

impl World<'_> {
    /// Whether there is a majority of the machines that decide.
    fn decides(&self) -> bool {
        let servers = self
            .machines
            .iter()
            .filter(|machine| self.control_plane.servers.contains(&machine.key()));
        let down = servers.filter(|machine| !machine.is_up()).count();
        self.control_plane.servers.is_empty() || down <= self.control_plane.may_lose as usize
    }

    pub fn fail(&mut self, at: usize, lasts: Option<i64>, by_chance: bool) -> anyhow::Result<()> {
        if !self.machines[at].is_up() {
            return Ok(());
        }
        let number = self.begin(Kind::Failure, at, lasts, by_chance);
        self.machines[at].down = Some(number);
        self.answer(number, at, failover)
    }

    pub fn drain(&mut self, at: usize, lasts: Option<i64>) -> anyhow::Result<()> {
        let machine = &self.machines[at];
        if !machine.is_up() || machine.draining.is_some() {
            return Ok(());
        }
        let number = self.begin(Kind::Drain, at, lasts, false);
        self.machines[at].draining = Some(number);
        self.answer(number, at, drain)
    }

    /// What the engine does about it at once, if there is anybody to decide.
    fn answer(&mut self, number: usize, at: usize, plan: Planner) -> anyhow::Result<()> {
        self.cluster.upsert_node(self.machines[at].node())?;
        let key = self.machines[at].key();
        let plan = if self.decides() {
            let plan = plan(&self.cluster, &self.scenario.policy, key)?;
            self.carry_out(&plan, key, false)?;
            plan
        } else {
            self.incidents[number].no_control_plane = true;
            Plan::default()
        };
        self.conclude(number, at, &plan);
        Ok(())
    }

    fn begin(&mut self, kind: Kind, at: usize, lasts: Option<i64>, by_chance: bool) -> usize {
        let number = self.incidents.len();
        let machine = &self.machines[at];
        self.incidents.push(Incident {
            at: self.now,
            kind,
            node: machine.name().to_owned(),
            by_chance,
            returned_at: None,
            pods: self.cluster.workloads_on(machine.key()).count(),
            others_down: self.machines.iter().filter(|machine| !machine.is_up()).count(),
            by_certificate: 0,
            by_search: 0,
            made_room: 0,
            stopped: 0,
            stranded: 0,
            best_effort_stranded: 0,
            pinned: 0,
            no_control_plane: false,
            exposed: 0,
            violations: 0,
            absorbed: false,
        });
        if let Some(lasts) = lasts {
            self.agenda.put(self.now + lasts, Happening::Over(number));
        }
        number
    }

    /// What the plan did, read from the books and not from the plan's own claims.
    fn conclude(&mut self, number: usize, at: usize, plan: &Plan) {
        let key = self.machines[at].key();
        let exposed = recertify(&mut self.cluster, &self.scenario.policy).exposed.len();
        let violations = self.check();
        let incident = &mut self.incidents[number];
        for step in plan.moves() {
            match step.reason {
                _ if step.from != key => incident.made_room += 1,
                Cause::Certificate => incident.by_certificate += 1,
                _ => incident.by_search += 1,
            }
        }
        for workload in self.cluster.workloads_on(key) {
            match (workload.can_move(), workload.priority) {
                (false, _) => incident.pinned += 1,
                (true, Priority::Protected) => incident.stranded += 1,
                (true, Priority::BestEffort) => incident.best_effort_stranded += 1,
            }
        }
        let evicted = plan
            .evictions
            .iter()
            .filter(|eviction| self.waiting.contains_key(&eviction.workload));
        incident.stopped = evicted.count();
        incident.exposed = exposed;
        incident.violations = violations;
        incident.absorbed = incident.stranded == 0 && !incident.no_control_plane;
        let (kind, absorbed) = (incident.kind, incident.absorbed);
        self.machines[at].begin(kind, self.now, absorbed);
        self.count_still();
    }

    /// Applies a plan of the engine's and counts what it cost.
    fn carry_out(&mut self, plan: &Plan, leaving: NodeKey, later: bool) -> anyhow::Result<()> {
        let evicted: BTreeSet<WorkloadKey> = plan.evictions.iter().map(|eviction| eviction.workload).collect();
        let found = evicted.iter().filter_map(|key| self.cluster.workload(*key));
        let stopped: Vec<Workload> = found.map(|(workload, _)| workload.clone()).collect();
        apply(&mut self.cluster, plan)
            .map_err(|outdated| anyhow!("{outdated}"))
            .context("a plan of the engine's does not hold on the cluster that it was made for")?;
        for workload in stopped {
            if self.cluster.workload(workload.id).is_none() {
                self.waiting.insert(workload.id, workload);
            }
        }
        for step in plan.moves() {
            let count = match step.reason {
                _ if later => &mut self.moves.later,
                _ if step.from != leaving => &mut self.moves.make_room,
                Cause::Certificate => &mut self.moves.certificate,
                Cause::Drain => &mut self.moves.drain,
                _ => &mut self.moves.search,
            };
            *count += 1;
        }
        let cost = &mut self.moves.cost;
        cost.moves += plan.cost.moves;
        cost.restart_seconds += plan.cost.restart_seconds;
        cost.volume_mib += plan.cost.volume_mib;
        Ok(())
    }

    /// The machine is back, or open again.
    pub fn over(&mut self, number: usize) -> anyhow::Result<()> {
        let holds = |held: Option<usize>| held == Some(number);
        let Some(at) = self
            .machines
            .iter()
            .position(|machine| holds(machine.down) || holds(machine.draining))
        else {
            return Ok(());
        };
        let kind = self.incidents[number].kind;
        let machine = &mut self.machines[at];
        match kind {
            Kind::Failure => machine.down = None,
            Kind::Drain => machine.draining = None,
        }
        machine.end(kind, self.now);
        self.incidents[number].returned_at = Some(self.now);
        self.cluster.upsert_node(self.machines[at].node())?;
        recertify(&mut self.cluster, &self.scenario.policy);
        self.count_still();
        self.retry()
    }

    /// Somebody left: whoever stands still may fit now.
    pub fn room_came(&mut self) {
        let down = self.machines.iter().any(|machine| !machine.is_up());
        if down {
            self.count_still();
        }
        if (down || !self.waiting.is_empty()) && self.retry_at.is_none() {
            let at = self.now + RETRY_SECONDS;
            self.retry_at = Some(at);
            self.agenda.put(at, Happening::Retry);
        }
    }

    pub fn retry(&mut self) -> anyhow::Result<()> {
        self.retry_at = None;
        if !self.decides() {
            return Ok(());
        }
        let policy = &self.scenario.policy;
        for at in 0..self.machines.len() {
            let machine = &self.machines[at];
            let (key, lost, leaving) = (machine.key(), !machine.is_up(), machine.draining.is_some());
            if !(lost || leaving) || !self.cluster.workloads_on(key).any(Workload::can_move) {
                continue;
            }
            let plan = if lost {
                failover(&self.cluster, policy, key)?
            } else {
                drain(&self.cluster, policy, key)?
            };
            if !plan.is_empty() {
                self.carry_out(&plan, key, true)?;
                recertify(&mut self.cluster, policy);
            }
        }
        for (id, workload) in std::mem::take(&mut self.waiting) {
            match place(&self.cluster, policy, &workload) {
                Ok(decision) => {
                    self.cluster.assign_with(workload, decision.node, decision.backup)?;
                    self.moves.later += 1;
                }
                Err(_) => {
                    self.waiting.insert(id, workload);
                }
            }
        }
        self.count_still();
        Ok(())
    }
}
