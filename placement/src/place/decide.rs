//! The search: by the index where there is one and the workload has no wishes, by the scan otherwise. Both give the same.

use super::question::small;
use super::{Decision, Question};
use crate::{
    NodeKey,
    backup::{Backup, Beginners},
    index::{Index, Rank, fits},
    refusal::{Counts, Reason},
    resources::PPM,
    score::{self, Score},
};

/// What a look at every node found.
pub(crate) struct Scan {
    pub best: Option<(Score, Option<NodeKey>)>,
    pub runner_up: Option<Score>,
    pub rejected: Counts,
}

/// A score that is compared before it is made readable: positions instead of keys, and the rank instead of the residual.
pub(crate) type Raw = (bool, u32, i64, u32, i64, u32);

impl Question<'_> {
    /// The best node, or none.
    pub fn decide(&self) -> Option<Decision> {
        if !self.reserve_shortage.is_zero() {
            return None;
        }
        if let Some(decision) = self.stay() {
            return Some(decision);
        }
        let indexed = self
            .cluster
            .index()
            .filter(|_| self.plain && self.index_knows_the_room());
        let found = match indexed {
            Some((index, odd)) => self.search(index, odd),
            None => self.scan_best(),
        };
        found.map(|(raw, backup)| self.decision_of(raw, backup))
    }

    /// Who may stay, stays.
    fn stay(&self) -> Option<Decision> {
        let at = self.present?.node;
        let softness = self.candidate(at).ok()?;
        let backup = self.insured(at, &self.beginners_if_needed()).ok()?;
        Some(self.decision_of(self.raw(at, softness, backup), backup))
    }

    /// The index is of what protected workloads may take; without reserves that is what anybody may take. It ranks by disk
    /// only from the first workload on that asks for it.
    fn index_knows_the_room(&self) -> bool {
        let reserves = self.cluster.certificates().count > 0;
        let ranked_alike = self.weights == self.cluster.weights();
        ranked_alike && self.purpose == super::Purpose::Admission && (self.protected || !reserves)
    }

    fn search(&self, index: &[Index], odd: &[u32]) -> Option<(Raw, Option<Backup>)> {
        let mut best: Option<(Raw, Option<Backup>)> = None;
        let special = [
            self.present.map(|present| present.node),
            self.present.and_then(|present| present.backup),
        ];
        let exact = special.into_iter().flatten().map(small);
        let mut look = |at: usize| {
            let Ok(softness) = self.candidate(at) else { return };
            let backup = if self.certify { self.carrying_backup(at) } else { None };
            if self.certify && backup.is_none() {
                return;
            }
            let raw = self.raw(at, softness, backup);
            if best.is_none_or(|(other, _)| raw < other) {
                best = Some((raw, backup));
            }
        };
        for node in exact {
            look(node as usize);
        }
        // Outside of the index: nodes that need a closer look, or have softer wishes against them.
        for &node in odd {
            if !special.contains(&Some(node as usize)) {
                look(node as usize);
            }
        }
        let mut step = Some(0);
        while let Some(regret) = step {
            // The groups of one regret together, the lowest regret first.
            step = None;
            let mut first: Option<(Rank, Option<Backup>)> = None;
            for (group, index) in index.iter().enumerate() {
                match self.regret(group) {
                    own if own == regret => {}
                    own if own > regret => {
                        step = Some(step.map_or(own, |step: u32| step.min(own)));
                        continue;
                    }
                    _ => continue,
                }
                let mut backup = None;
                let accept = |node: u32| {
                    let at = node as usize;
                    if special.contains(&Some(at)) || self.over_line(at).is_some() {
                        return false;
                    }
                    backup = if self.certify { self.carrying_backup(at) } else { None };
                    !self.certify || backup.is_some()
                };
                let bound = first.map(|(rank, _)| rank);
                if let Some(rank) = index.first(self.cluster.rooms(), self.need, bound, accept) {
                    first = Some((rank, backup));
                }
            }
            if let Some((rank, backup)) = first {
                let raw = self.raw(rank.1 as usize, 0, backup);
                if best.is_none_or(|(other, _)| raw < other) {
                    best = Some((raw, backup));
                }
                break;
            }
        }
        // A reserve has to grow: then every node counts.
        let settled = best.is_some_and(|((_, softness, ..), _)| softness == 0);
        if settled || !self.certify {
            best
        } else {
            self.scan_best()
        }
    }

    fn scan_best(&self) -> Option<(Raw, Option<Backup>)> {
        let beginners = self.beginners_if_needed();
        let mut best: Option<(Raw, Option<Backup>)> = None;
        for at in 0..self.cluster.rows().len() {
            let Ok(softness) = self.candidate(at) else { continue };
            // Without a look at the backups: can it be better at all?
            if best.is_some_and(|(other, _)| self.raw(at, softness, None) > other) {
                continue;
            }
            let Ok(backup) = self.insured(at, &beginners) else {
                continue;
            };
            let raw = self.raw(at, softness, backup);
            if best.is_none_or(|(other, _)| raw < other) {
                best = Some((raw, backup));
            }
        }
        best
    }

    /// The same with the reasons of those that cannot, and the second best.
    pub fn scan(&self) -> Scan {
        let beginners = self.beginners_if_needed();
        let mut tally = [0_u32; Reason::ALL.len()];
        let mut found: [Option<(Raw, Option<Backup>)>; 2] = [None; 2];
        for at in 0..self.cluster.rows().len() {
            match self.judge_with(at, &beginners) {
                Err(reason) => tally[reason as usize] += 1,
                Ok(candidate) if found[0].is_none_or(|best| candidate.0 < best.0) => {
                    found = [Some(candidate), found[0]];
                }
                Ok(candidate) if found[1].is_none_or(|second| candidate.0 < second.0) => found[1] = Some(candidate),
                Ok(_) => {}
            }
        }
        let counted = Reason::ALL.into_iter().zip(tally).filter(|&(_, count)| count > 0);
        let key = |backup: Option<Backup>| backup.map(|backup| self.key(backup.node as usize));
        Scan {
            best: found[0].map(|(raw, backup)| (self.score(raw), key(backup))),
            runner_up: found[1].map(|(raw, _)| self.score(raw)),
            rejected: counted.collect(),
        }
    }

    /// Whether a node takes the workload, or the first thing that rules it out.
    pub fn judge(&self, at: usize) -> Result<Score, Reason> {
        self.judge_with(at, &self.beginners_if_needed())
            .map(|(raw, _)| self.score(raw))
    }

    pub(crate) fn judge_with(&self, at: usize, beginners: &Beginners) -> Result<(Raw, Option<Backup>), Reason> {
        let softness = self.candidate(at)?;
        if !self.reserve_shortage.is_zero() {
            return Err(Reason::Reserve);
        }
        let backup = self.insured(at, beginners)?;
        Ok((self.raw(at, softness, backup), backup))
    }

    /// The decision for one node, if it takes the workload.
    pub fn decide_at(&self, at: usize) -> Option<Decision> {
        let (raw, backup) = self.judge_with(at, &self.beginners_if_needed()).ok()?;
        Some(self.decision_of(raw, backup))
    }

    /// Its softness, if everything but reserves lets it.
    fn candidate(&self, at: usize) -> Result<u32, Reason> {
        let row = &self.cluster.rows()[at];
        if self.present.is_some_and(|present| present.leaves && present.node == at) {
            return Err(Reason::Draining);
        }
        let mut softness = 0;
        if !(self.plain && row.plain) {
            softness = self.takes(at, row)?;
        }
        if !fits(self.room(at), self.need) {
            return Err(self.short_of(at).map_or(Reason::Pods, Reason::from));
        }
        match self.over_line(at) {
            Some(dimension) => Err(Reason::of_usage(dimension)),
            None if row.plain => Ok(softness),
            None => Ok(softness.saturating_add(score::softness(&row.node, self.workload))),
        }
    }

    fn beginners_if_needed(&self) -> Beginners {
        if self.certify {
            self.beginners()
        } else {
            Beginners::default()
        }
    }

    /// The certificate that it would get there, if it needs one.
    fn insured(&self, at: usize, beginners: &Beginners) -> Result<Option<Backup>, Reason> {
        if !self.certify {
            return Ok(None);
        }
        self.best_backup(at, beginners).map(Some).ok_or(Reason::NPlusOne)
    }

    fn regret(&self, group: usize) -> u32 {
        self.regrets.of(group)
    }

    fn raw(&self, at: usize, softness: u32, backup: Option<Backup>) -> Raw {
        let moves = self.present.is_some_and(|present| present.node != at);
        let growth = backup.map_or(0, |backup| backup.cost());
        let regret = self.regret(usize::from(self.cluster.rows()[at].group));
        let rank = self.weights.key(self.room(at));
        (moves, softness, growth, regret, rank, small(at))
    }

    fn decision_of(&self, raw: Raw, backup: Option<Backup>) -> Decision {
        let backup = backup.map(|backup| self.key(backup.node as usize));
        self.decision(self.score(raw), backup)
    }

    pub fn decision(&self, score: Score, backup: Option<NodeKey>) -> Decision {
        Decision {
            workload: self.workload.id,
            node: score.node,
            backup,
            score,
        }
    }

    fn score(&self, (moves, softness, growth, regret, rank, at): Raw) -> Score {
        let left = rank - self.weights.key(super::room(self.demand));
        let ppm = |sum: i64| i64::try_from((i128::from(sum) * i128::from(PPM)) >> 32).unwrap_or(i64::MAX);
        Score {
            moves,
            softness,
            growth_ppm: ppm(growth),
            regret,
            residual_ppm: ppm(left.max(0)),
            node: self.key(at as usize),
        }
    }
}
