//! Traces of CPU and memory use, cut into a past that rules may learn from and a future that they are judged on.
//!
//! Workloads with less than nine tenths of their samples in either part are left out; single gaps take the sample before.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::data;
use crate::random::Random;

/// The samples of one workload, with gaps.
pub type Row = Vec<Option<i64>>;

/// Workloads of one fleet; every row is as long as the others, in the past and in the future.
#[derive(Clone, Debug)]
pub struct Trace {
    pub name: String,
    pub start_seconds: i64,
    pub step_seconds: i64,
    pub past: Vec<Vec<i64>>,
    pub future: Vec<Vec<i64>>,
}

/// One day of the PlanetLab file: its date, and its machines by their keys. Milli-CPU.
#[derive(Clone, Debug)]
pub struct Day {
    pub date: String,
    pub rows: BTreeMap<String, Row>,
}

pub const FIVE_MINUTES: i64 = 300;
/// Five-minute steps in a day.
pub const DAY_STEPS: usize = 288;

/// `day, vm_key, s0..`: percent of the machine's CPU, taken as hundredths of one CPU.
pub fn planetlab(path: &Path) -> Result<Vec<Day>> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    for record in data::open(path)?.records() {
        let record = record.with_context(|| format!("cannot read {}", path.display()))?;
        let mut fields = record.iter();
        let (Some(date), Some(key)) = (fields.next(), fields.next()) else {
            continue;
        };
        let row = fields.map(|field| number(field).map(|percent| percent * 10)).collect();
        days.entry(date.to_owned())
            .or_insert_with(|| Day {
                date: date.to_owned(),
                rows: BTreeMap::new(),
            })
            .rows
            .insert(key.to_owned(), row);
    }
    Ok(days.into_values().collect())
}

/// One label, then a column per step: thousandths of what the workload has.
pub fn permille(path: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for record in data::open(path)?.records() {
        let record = record.with_context(|| format!("cannot read {}", path.display()))?;
        rows.push(record.iter().skip(1).map(number).collect());
    }
    Ok(rows)
}

/// Use beyond the limit is an artefact of how it was measured.
fn number(field: &str) -> Option<i64> {
    field.trim().parse::<i64>().ok().map(|value| value.clamp(0, 1000))
}

impl Trace {
    /// Steps `from..middle` are the past, `middle..until` the future.
    pub fn cut(name: &str, rows: &[Row], step_seconds: i64, [from, middle, until]: [usize; 3]) -> Self {
        let both = |row: &Row| Some((filled(row.get(from..middle)?)?, filled(row.get(middle..until)?)?));
        let (past, future) = rows.iter().filter_map(both).unzip();
        Self {
            name: name.to_owned(),
            start_seconds: i64::try_from(from).unwrap_or(0) * step_seconds,
            step_seconds,
            past,
            future,
        }
    }

    /// Machines that were there on both days.
    pub fn next_day(first: &Day, second: &Day) -> Self {
        let both = |(key, row): (&String, &Row)| Some((filled(row)?, filled(second.rows.get(key)?)?));
        let (past, future) = first.rows.iter().filter_map(both).unzip();
        Self {
            name: format!("{} to {}", first.date, second.date),
            start_seconds: 0,
            step_seconds: FIVE_MINUTES,
            past,
            future,
        }
    }

    pub fn end_seconds(&self) -> i64 {
        let steps = self.past.first().map_or(0, Vec::len);
        self.start_seconds + self.step_seconds * (i64::try_from(steps).unwrap_or(0) - 1)
    }
}

fn filled(row: &[Option<i64>]) -> Option<Vec<i64>> {
    let there = row.iter().flatten().count();
    let mut last = *row.iter().flatten().next()?;
    if there * 10 < row.len() * 9 {
        return None;
    }
    Some(
        row.iter()
            .map(|sample| {
                last = sample.unwrap_or(last);
                last
            })
            .collect(),
    )
}

/// A small fleet for runs without data: a level of its own and a daily wave per workload, noise, and bursts that grow
/// rarer the higher they go. `steady` is how memory behaves: a level, a slow wave and small peaks.
pub fn generated(seed: u64, workloads: usize, steps: usize, step_seconds: i64, steady: bool) -> Vec<Row> {
    let mut random = Random::new(seed);
    let day = usize::try_from(86_400 / step_seconds).unwrap_or(DAY_STEPS);
    let between = |random: &mut Random, low: i64, high: i64| {
        low + i64::try_from(random.below(usize::try_from(high - low).unwrap_or(1))).unwrap_or(0)
    };
    let mut row = |_| {
        let level = if steady {
            between(&mut random, 200, 800)
        } else {
            20 + between(&mut random, 1, 100) * between(&mut random, 1, 100) / 40
        };
        let phase = random.below(day / 4);
        let mut burst = 0;
        (0..steps)
            .map(|step| {
                let at = (step + phase) % day;
                let height = i64::try_from(at.min(day - at) * 1000 / day).unwrap_or(0);
                let wave = if steady {
                    level * height / 10_000
                } else {
                    level * height / 1000
                };
                let noise = between(&mut random, 0, level / if steady { 40 } else { 3 } + 1);
                if random.below(60) == 0 {
                    burst = level * 4000 / between(&mut random, 1000, 8000);
                }
                burst = burst * 3 / 4;
                let extra = if steady { burst / 20 } else { burst };
                Some((level + wave + noise + extra).min(1000))
            })
            .collect()
    };
    (0..workloads).map(&mut row).collect()
}
