//! Orders and cancellations: asked of the engine as the server asks, `place` and then `assign_with` its certificate.
//!
//! A stream draws the plan, the stay and the row of the traces of an order before the engine is asked, so that the
//! orders of two policies are the same, whoever is admitted.

use placement::{Refusal, Resources, VolumeLocality, Workload, WorkloadKey, place};

use super::{
    agenda::Happening,
    measured::Row,
    random::Random,
    report::FirstRefusal,
    run::{World, ppm},
    scenario::{Scenario, Volume},
    valid,
};

/// Fills draw from one stream of their own.
const FILLS: u64 = u64::MAX - 1;

/// Where the chance of orders comes from.
#[derive(Debug)]
pub struct Streams {
    streams: Vec<Random>,
    fills: Random,
    next_order: u64,
}

impl Streams {
    pub fn new(scenario: &Scenario) -> Self {
        let streams = 0..scenario.arrivals.len() as u64;
        Self {
            streams: streams.map(|at| Random::stream(scenario.seed, at)).collect(),
            fills: Random::stream(scenario.seed, FILLS),
            next_order: 1,
        }
    }
}

impl World<'_> {
    pub fn next_order(&mut self, stream: usize, from: i64) {
        let arrivals = &self.scenario.arrivals[stream];
        let at = from + self.streams.streams[stream].exponential(arrivals.every.0);
        if arrivals.until.is_none_or(|until| at <= until.0) {
            self.agenda.put(at, Happening::Order(stream));
        }
    }

    pub fn order(&mut self, stream: usize) -> anyhow::Result<()> {
        let arrivals = &self.scenario.arrivals[stream];
        let total: u64 = valid::chosen(self.scenario, &arrivals.plans)
            .map(|(_, weight)| weight)
            .sum();
        let random = &mut self.streams.streams[stream];
        let mut drawn = random.below(total);
        let plan = valid::chosen(self.scenario, &arrivals.plans).find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        let (row, stay) = (
            random.next(),
            arrivals.stay.map(|mean| random.exponential(mean.0).max(1)),
        );
        self.next_order(stream, self.now);
        let (plan, _) = plan.unwrap_or_default();
        if let (Some(id), Some(stay)) = (self.ask(plan, row)?, stay) {
            self.agenda.put(self.now + stay, Happening::Cancel(id));
        }
        Ok(())
    }

    /// Orders until the first refusal.
    pub fn fill(&mut self, plan: usize, most: u32) -> anyhow::Result<()> {
        for _ in 0..most {
            let row = self.streams.fills.next();
            if self.ask(plan, row)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The number of the order, if it is admitted.
    fn ask(&mut self, plan: usize, row: u64) -> anyhow::Result<Option<u64>> {
        let id = self.streams.next_order;
        self.streams.next_order += 1;
        let mut workload = self.workload(plan, WorkloadKey(u128::from(id)));
        let decision = match place(&self.cluster, &self.scenario.policy, &workload) {
            Ok(decision) => decision,
            Err(refusal) => {
                self.refuse(plan, &refusal);
                return Ok(None);
            }
        };
        if self.scenario.plans[plan].volume == Volume::Pinned {
            workload.volume = VolumeLocality::Pinned(decision.node);
        }
        let backup = decision.backup.filter(|_| workload.can_move());
        self.cluster.assign_with(workload, decision.node, backup)?;
        self.measured.begin(WorkloadKey(u128::from(id)), Row { row, plan });
        self.orders.by_plan[plan].admitted += 1;
        Ok(Some(id))
    }

    /// What an order of this plan is before it is placed.
    pub fn workload(&self, plan: usize, id: WorkloadKey) -> Workload {
        let plan = &self.scenario.plans[plan];
        let amount = |amount: super::scenario::Amount| Resources {
            cpu_milli: amount.cpu_milli,
            mem_mib: amount.mem_mib,
            disk_mib: plan.disk_mib,
            pods: 1,
        };
        let (request, limit) = (amount(plan.request), amount(plan.limit));
        Workload {
            selector: plan.selector.clone(),
            priority: plan.priority,
            ..Workload::new(id, self.scenario.policy.written_request(request, limit), limit)
        }
    }

    fn refuse(&mut self, plan: usize, refusal: &Refusal) {
        *self.orders.by_plan[plan].refused.entry(refusal.binding).or_default() += 1;
        if self.orders.first_refusal.is_some() {
            return;
        }
        let up = self.machines.iter().filter(|machine| machine.is_up());
        let mut sums = [Resources::ZERO; 2];
        for machine in up {
            let taken = self.cluster.occupied(machine.key()).unwrap_or_default();
            sums = [sums[0].plus(taken), sums[1].plus(machine.allocatable())];
        }
        self.orders.first_refusal = Some(FirstRefusal {
            at: self.now,
            plan: self.scenario.plans[plan].name.clone(),
            running: self.cluster.workload_count(),
            cpu_ppm: ppm(sums[0].cpu_milli, sums[1].cpu_milli),
            mem_ppm: ppm(sums[0].mem_mib, sums[1].mem_mib),
            why: refusal.to_string(),
        });
    }

    pub fn cancel(&mut self, order: u64) {
        let id = WorkloadKey(u128::from(order));
        self.waiting.remove(&id);
        self.cluster.remove(id);
        self.measured.end(id);
        self.orders.cancelled += 1;
        self.room_came();
    }
}
