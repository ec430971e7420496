//! The run: takes one happening after the other from the agenda, and keeps what they share.
//!
//! The pods' books are the engine's [`Cluster`]; here is only what it does not know: time, which machine is down because
//! of what, who waits, and what has been counted so far.

use std::collections::BTreeMap;

use placement::{Cluster, ControlPlane, Workload, WorkloadKey, check, prices, recertify};

use super::{
    agenda::{Agenda, Happening},
    ending,
    fleet::{self, Machine},
    measured::Measured,
    orders::Streams,
    random::Random,
    report::{Found, Incident, MachineReport, Moves, Orders, PlanOrders, Report, Sample, Usage},
    scenario::Scenario,
    traces::Traces,
};

/// Points of the report's curves.
const SAMPLES: i64 = 160;
/// From here on the engine's index is worth its keep.
const INDEXED_FROM: usize = 256;
/// The stream of chance for failures; those for orders count from 0.
const FAILURES: u64 = u64::MAX;

pub struct World<'a> {
    pub scenario: &'a Scenario,
    pub traces: &'a Traces,
    pub cluster: Cluster,
    pub control_plane: ControlPlane,
    pub machines: Vec<Machine>,
    /// Evicted from the reserve, and without a place since.
    pub waiting: BTreeMap<WorkloadKey, Workload>,
    pub agenda: Agenda,
    pub streams: Streams,
    pub measured: Measured,
    pub now: i64,
    pub incidents: Vec<Incident>,
    pub orders: Orders,
    pub moves: Moves,
    pub usage: Usage,
    pub violations: Vec<Found>,
    pub retry_at: Option<i64>,
    failures: Random,
    standing_still: usize,
    lost_pod_seconds: i64,
    samples: Vec<Sample>,
}

pub fn run(scenario: &Scenario, traces: &Traces) -> anyhow::Result<Report> {
    let mut world = World::new(scenario, traces)?;
    world.plan_ahead();
    while let Some((at, happening)) = world.agenda.next() {
        if at > scenario.length.0 {
            break;
        }
        world.pass_until(at);
        world.take(happening)?;
    }
    world.pass_until(scenario.length.0);
    world.check();
    Ok(world.report())
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, traces: &'a Traces) -> anyhow::Result<Self> {
        let machines = fleet::machines(scenario);
        let mut cluster = Cluster::from_parts(machines.iter().map(Machine::node), [])?;
        if scenario.policy.goes_by_usage() {
            cluster.track_loads();
        }
        if machines.len() >= INDEXED_FROM {
            cluster.reindex();
        }
        let named = |name: &String| machines.iter().find(|machine| machine.name() == name).map(Machine::key);
        let by_plan = scenario.plans.iter().map(|plan| PlanOrders {
            plan: plan.name.clone(),
            ..PlanOrders::default()
        });
        Ok(Self {
            control_plane: ControlPlane::new(scenario.control_plane.iter().filter_map(named)),
            orders: Orders {
                by_plan: by_plan.collect(),
                ..Orders::default()
            },
            streams: Streams::new(scenario),
            measured: Measured::default(),
            failures: Random::stream(scenario.seed, FAILURES),
            scenario,
            traces,
            cluster,
            machines,
            waiting: BTreeMap::new(),
            agenda: Agenda::default(),
            now: 0,
            incidents: Vec::new(),
            moves: Moves::default(),
            usage: Usage::default(),
            violations: Vec::new(),
            retry_at: None,
            standing_still: 0,
            lost_pod_seconds: 0,
            samples: Vec::new(),
        })
    }

    /// What does not depend on how the run goes.
    fn plan_ahead(&mut self) {
        let length = self.scenario.length.0;
        for (at, event) in self.scenario.events.iter().enumerate() {
            self.agenda.put(event.at.0, Happening::Scripted(at));
        }
        for point in 0..=SAMPLES {
            self.agenda.put(length * point / SAMPLES, Happening::Sample);
        }
        self.agenda.put(self.scenario.review.0, Happening::Review);
        if !self.traces.is_empty() {
            self.agenda.put(self.traces.step, Happening::Measure);
        }
        for stream in 0..self.scenario.arrivals.len() {
            self.next_order(stream, self.scenario.arrivals[stream].from.0);
        }
        self.next_failure(self.scenario.failures.map_or(0, |failures| failures.from.0));
    }

    fn take(&mut self, happening: Happening) -> anyhow::Result<()> {
        match happening {
            Happening::Over(incident) => self.over(incident)?,
            Happening::Cancel(order) => self.cancel(order),
            Happening::Measure => self.measure()?,
            Happening::Review => {
                let prices = prices(&self.cluster);
                self.cluster.set_prices(prices);
                self.resize()?;
                recertify(&mut self.cluster, &self.scenario.policy);
                self.agenda.put(self.now + self.scenario.review.0, Happening::Review);
            }
            Happening::Retry => self.retry()?,
            Happening::Scripted(at) => self.scripted(at)?,
            Happening::Chance => {
                let count = u64::try_from(self.machines.len()).unwrap_or(u64::MAX);
                let at = usize::try_from(self.failures.below(count)).unwrap_or(0);
                let lasts = self.scenario.failures.map(|failures| failures.last.0);
                self.next_failure(self.now);
                self.fail(at, lasts, true)?;
            }
            Happening::Order(stream) => self.order(stream)?,
            Happening::Sample => self.sample(),
        }
        Ok(())
    }

    fn scripted(&mut self, at: usize) -> anyhow::Result<()> {
        let event = &self.scenario.events[at];
        let machine = |name: &String| self.machines.iter().position(|machine| machine.name() == name);
        let lasts = event.lasts.map(|lasts| lasts.0);
        if let Some(node) = event.fail.as_ref().and_then(machine) {
            self.fail(node, lasts, false)?;
        } else if let Some(node) = event.drain.as_ref().and_then(machine) {
            self.drain(node, lasts)?;
        } else if let Some(plan) = &event.fill {
            let plan = self.scenario.plans.iter().position(|other| other.name == *plan);
            self.fill(plan.unwrap_or(0), event.most.unwrap_or(u32::MAX))?;
        }
        Ok(())
    }

    fn next_failure(&mut self, from: i64) {
        if let Some(failures) = self.scenario.failures {
            let gap = self.failures.exponential(failures.every.0).max(1);
            self.agenda.put(from + gap, Happening::Chance);
        }
    }

    fn pass_until(&mut self, at: i64) {
        let still = i64::try_from(self.standing_still).unwrap_or(i64::MAX);
        self.lost_pod_seconds += still.saturating_mul(at - self.now);
        self.now = at;
    }

    /// Counts again who has no living node, after a change.
    pub fn count_still(&mut self) {
        let down = self.machines.iter().filter(|machine| !machine.is_up());
        let stuck = down.map(|machine| self.cluster.workloads_on(machine.key()).count());
        self.standing_still = stuck.sum::<usize>() + self.waiting.len();
    }

    /// Asks the checker, which shares nothing with the engine; returns how much is new.
    pub fn check(&mut self) -> usize {
        let nodes: Vec<_> = self.cluster.nodes().cloned().collect();
        let workloads: Vec<_> = self.cluster.workloads().map(|(workload, _)| workload.clone()).collect();
        let placements: Vec<_> = self.cluster.placements().collect();
        let found = check(&nodes, &workloads, &placements);
        let at = self.now;
        let count = found.len();
        self.violations.extend(found.into_iter().map(|what| Found {
            at,
            text: what.to_string(),
            what,
        }));
        count
    }

    fn sample(&mut self) {
        let (mut asked, mut there) = ([0_i64; 2], [0_i64; 2]);
        for machine in &mut self.machines {
            let taken = self.cluster.occupied(machine.key()).unwrap_or_default();
            let has = machine.allocatable();
            machine.cpu_ppm.push(ppm(taken.cpu_milli, has.cpu_milli));
            machine.mem_ppm.push(ppm(taken.mem_mib, has.mem_mib));
            if machine.is_up() {
                asked = [asked[0] + taken.cpu_milli, asked[1] + taken.mem_mib];
                there = [there[0] + has.cpu_milli, there[1] + has.mem_mib];
            }
        }
        let by_plan = || self.orders.by_plan.iter();
        self.samples.push(Sample {
            at: self.now,
            pods: self.cluster.workload_count() + self.waiting.len(),
            standing_still: self.standing_still,
            cpu_ppm: ppm(asked[0], there[0]),
            mem_ppm: ppm(asked[1], there[1]),
            machines_down: self.machines.iter().filter(|machine| !machine.is_up()).count(),
            admitted: by_plan().map(|plan| plan.admitted).sum(),
            refused: by_plan().map(PlanOrders::refused).sum(),
        });
    }

    fn report(self) -> Report {
        let end = ending::look(&self, self.standing_still);
        let machines = self.machines.into_iter().map(|machine| MachineReport {
            name: machine.name().to_owned(),
            class: machine.class().to_owned(),
            cpu_ppm: machine.cpu_ppm,
            mem_ppm: machine.mem_ppm,
            marks: machine.marks,
        });
        Report {
            scenario: self.scenario.name.clone(),
            seed: self.scenario.seed,
            length_seconds: self.scenario.length.0,
            policy: self.scenario.policy,
            orders: self.orders,
            machines: machines.collect(),
            samples: self.samples,
            incidents: self.incidents,
            moves: self.moves,
            lost_pod_seconds: self.lost_pod_seconds,
            violations: self.violations,
            usage: (!self.traces.is_empty()).then_some(self.usage),
            end,
        }
    }
}

/// A share in parts per million; nothing of nothing is 0.
pub fn ppm(part: i64, whole: i64) -> i64 {
    let share = i128::from(part) * i128::from(placement::PPM) / i128::from(whole.max(1));
    i64::try_from(share).unwrap_or(i64::MAX)
}
