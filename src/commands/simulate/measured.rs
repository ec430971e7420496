//! Use from the traces: what each pod is seen to use, what that does to its machine, and what is written into it later.
//!
//! Summaries, loads and written requests are the engine's. A pod is resized where it is, and only if the engine would
//! place it there again with the new request.

use std::collections::BTreeMap;

use placement::{
    Predicted, Resources, WorkloadKey, place,
    usage::{Promise, Summary},
};

use super::{
    agenda::Happening,
    run::{World, ppm},
};

/// Which row of the traces a pod follows, and what it was ordered as.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub row: u64,
    pub plan: usize,
}

#[derive(Debug, Default)]
pub struct Measured {
    pods: BTreeMap<WorkloadKey, (Row, Summary)>,
}

impl Measured {
    pub fn begin(&mut self, id: WorkloadKey, row: Row) {
        self.pods.insert(id, (row, Summary::default()));
    }

    pub fn end(&mut self, id: WorkloadKey) {
        self.pods.remove(&id);
    }
}

impl World<'_> {
    /// One step of the traces: samples for every running pod, and a look at every living machine.
    pub fn measure(&mut self) -> anyhow::Result<()> {
        for at in 0..self.machines.len() {
            if !self.machines[at].is_up() {
                continue;
            }
            let key = self.machines[at].key();
            let mut used = Predicted::default();
            for workload in self.cluster.workloads_on(key) {
                let Some((row, summary)) = self.measured.pods.get_mut(&workload.id) else {
                    continue;
                };
                let ceiling = |limit: i64, request: i64| if limit > 0 { limit } else { request };
                let (limit, request) = (workload.limit, workload.request);
                let cpu_limit = ceiling(limit.cpu_milli, request.cpu_milli);
                let mem_limit = ceiling(limit.mem_mib, request.mem_mib);
                let cpu = self
                    .traces
                    .cpu_at(row.row, self.now, cpu_limit)
                    .unwrap_or(request.cpu_milli);
                let mem = self.traces.memory_at(row.row, self.now, mem_limit).unwrap_or(mem_limit);
                summary.observe(self.now, cpu, mem);
                used.cpu_milli += cpu;
                used.mem_mib += mem;
            }
            self.look_at(at, used)?;
        }
        self.agenda.put(self.now + self.traces.step, Happening::Measure);
        Ok(())
    }

    fn look_at(&mut self, at: usize, used: Predicted) -> anyhow::Result<()> {
        let machine = &mut self.machines[at];
        let node = machine.node();
        let free = node.allocatable.minus(node.foreign);
        // Use is in reference threads, of which a fast machine has more.
        let cpu = ppm(ppm(used.cpu_milli, free.cpu_milli), node.cpu_speed_ppm);
        let mem = ppm(used.mem_mib, free.mem_mib);
        let usage = &mut self.usage;
        usage.looked_at += 1;
        usage.cpu_over += u64::from(cpu > placement::PPM);
        usage.mem_over += u64::from(mem > placement::PPM);
        usage.cpu_peak_ppm = usage.cpu_peak_ppm.max(cpu);
        usage.mem_peak_ppm = usage.mem_peak_ppm.max(mem);
        let hot = self.scenario.policy.is_hot(&node, used);
        if hot != machine.hot {
            usage.closed += u64::from(hot);
            machine.hot = hot;
            self.cluster.upsert_node(machine.node())?;
        }
        Ok(())
    }

    /// Under a usage rule: what was learned becomes what is expected, and the written request follows.
    pub fn resize(&mut self) -> anyhow::Result<()> {
        let policy = &self.scenario.policy;
        let Some(rule) = policy.usage().filter(|_| !self.traces.is_empty()) else {
            return Ok(());
        };
        for (id, (row, summary)) in &self.measured.pods {
            let Some((workload, node)) = self.cluster.workload(*id) else {
                continue;
            };
            let plan = &self.scenario.plans[row.plan];
            let promise = Promise {
                cpu_request_milli: plan.request.cpu_milli,
                cpu_limit_milli: plan.limit.cpu_milli,
                mem_mib: workload.limit.mem_mib.max(plan.request.mem_mib),
            };
            let load = summary.load(rule, self.now, promise);
            let mut known = workload.clone();
            known.measured = summary.usable(rule, self.now).then(|| Box::new(load));
            let request = Resources {
                cpu_milli: plan.request.cpu_milli,
                mem_mib: plan.request.mem_mib,
                ..known.request
            };
            let written = match known.measured {
                Some(_) => policy.written_request_of(&load, request, known.limit),
                None => policy.written_request(request, known.limit),
            };
            let backup = self.cluster.backup(*id);
            let mut resized = known.clone();
            resized.request = written;
            let changed = written != known.request;
            self.cluster.assign_with(known, node, backup)?;
            if !changed {
                continue;
            }
            if let Ok(decision) = place(&self.cluster, policy, &resized)
                && decision.node == node
            {
                let backup = decision.backup.filter(|_| resized.can_move());
                self.cluster.assign_with(resized, node, backup)?;
                self.usage.resized += 1;
            }
        }
        Ok(())
    }
}
