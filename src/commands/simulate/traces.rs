//! Measured use from CSV files: one row per workload, one column per sample, in parts of the limit.
//!
//! A column is a sample if its heading is one letter and a number; the others (names, days) are not looked at. An empty
//! field is a sample that was missed: the one before it stands.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use placement::PPM;

use super::scenario::TraceFiles;

/// Rows of parts per million of the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    pub cpu: Vec<Vec<i64>>,
    pub memory: Vec<Vec<i64>>,
    pub step: i64,
}

impl Traces {
    pub fn load(folder: &Path, files: &TraceFiles) -> anyhow::Result<Self> {
        let read = |field: &str, path: &Option<std::path::PathBuf>| match path {
            None => Ok(Vec::new()),
            Some(path) => {
                let path = folder.join(path);
                let rows = || parse(&std::fs::read_to_string(&path).context("cannot be read")?, files.whole);
                rows().with_context(|| format!("traces.{field}: {}", path.display()))
            }
        };
        Ok(Self {
            cpu: read("cpu", &files.cpu)?,
            memory: read("memory", &files.memory)?,
            step: files.step.0,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.cpu.is_empty() && self.memory.is_empty()
    }

    /// What a workload with this limit uses at a time; `None` where nothing was measured.
    pub fn cpu_at(&self, row: u64, seconds: i64, limit: i64) -> Option<i64> {
        self.at(&self.cpu, row, seconds, limit)
    }

    pub fn memory_at(&self, row: u64, seconds: i64, limit: i64) -> Option<i64> {
        self.at(&self.memory, row, seconds, limit)
    }

    fn at(&self, rows: &[Vec<i64>], row: u64, seconds: i64, limit: i64) -> Option<i64> {
        let count = u64::try_from(rows.len()).ok().filter(|count| *count > 0)?;
        let samples = &rows[usize::try_from(row % count).ok()?];
        let slot = usize::try_from(seconds / self.step).ok()?;
        let share = i128::from(samples[slot % samples.len()]) * i128::from(limit.max(0));
        i64::try_from(share / i128::from(PPM)).ok()
    }
}

fn parse(text: &str, whole: i64) -> anyhow::Result<Vec<Vec<i64>>> {
    let mut lines = text.lines();
    let heading: Vec<bool> = lines.next().unwrap_or_default().split(',').map(is_sample).collect();
    ensure!(heading.contains(&true), "no column is named as a sample is: s0, s1, …");
    let mut rows = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        rows.push(row(line, &heading, whole).with_context(|| format!("line {}", number + 2))?);
    }
    ensure!(!rows.is_empty(), "holds no row");
    Ok(rows)
}

fn row(line: &str, heading: &[bool], whole: i64) -> anyhow::Result<Vec<i64>> {
    let fields: Vec<&str> = line.split(',').collect();
    ensure!(
        fields.len() == heading.len(),
        "has {} fields under {} headings",
        fields.len(),
        heading.len()
    );
    let mut samples = Vec::new();
    let mut before = 0;
    for (field, _) in fields.iter().zip(heading).filter(|(_, sample)| **sample) {
        let field = field.trim();
        if !field.is_empty() {
            let Some(value) = field.parse::<i64>().ok().filter(|value| *value >= 0) else {
                bail!("\"{field}\" is not a whole number from 0 on");
            };
            // Beyond the limit was an artefact of measuring.
            before = value.saturating_mul(PPM).div_euclid(whole).min(PPM);
        }
        samples.push(before);
    }
    Ok(samples)
}

fn is_sample(heading: &str) -> bool {
    let mut rest = heading.trim().chars();
    let letter = rest.next().is_some_and(|first| first.is_ascii_alphabetic());
    letter && !rest.as_str().is_empty() && rest.all(|rest| rest.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repeat_and_gaps_keep_the_sample_before() {
        let cpu = parse("vm,s0,s1,s2\na,100,,2000\n\nb,0,500,1000\n", 1_000).unwrap();
        assert_eq!(cpu, [vec![100_000, 100_000, PPM], vec![0, 500_000, PPM]]);
        let traces = Traces {
            cpu,
            step: 300,
            ..Traces::default()
        };
        assert_eq!(traces.cpu_at(3, 300, 2_000), Some(1_000), "row 3 of 2 is the second");
        assert_eq!(traces.cpu_at(0, 900, 2_000), Some(200), "slot 3 of 3 is the first");
        assert_eq!(traces.memory_at(0, 0, 1_024), None);
    }

    #[test]
    fn bad_files_say_where() {
        let cases = [
            ("vm,name\na,b\n", "no column"),
            ("vm,s0\n", "no row"),
            ("vm,s0\na,1,2\n", "line 2: has 3 fields under 2 headings"),
            ("vm,s0\na,1\nb,-1\n", "line 3: \"-1\" is not a whole number"),
        ];
        for (text, wanted) in cases {
            let error = format!("{:#}", parse(text, 1_000).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }
}
