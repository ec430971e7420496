//! `golden.toml`: which transcripts and steps are not replayed, and why.

use std::{collections::BTreeMap, ops::RangeInclusive};

/// Skipped steps by transcript; `None` stands for all of its steps.
#[derive(Default)]
pub struct Skips {
    entries: BTreeMap<String, Vec<(Steps, String)>>,
}

type Steps = Option<RangeInclusive<u64>>;

impl Skips {
    /// Reads the few forms that the file uses: `[[skip]]` tables with `transcript`, `steps` and `reason`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut skips = Self::default();
        for table in text.split("[[skip]]").skip(1) {
            let field = |name: &str| {
                let line = table.lines().find(|line| line.split('=').next().is_some_and(|key| key.trim() == name));
                line.and_then(|line| line.split_once('=')).map(|(_, value)| value.trim().trim_matches('"').to_owned())
            };
            let transcript = field("transcript").ok_or("a [[skip]] without transcript")?;
            let reason = field("reason").filter(|reason| !reason.is_empty());
            let reason = reason.ok_or_else(|| format!("a skip of {transcript} without reason"))?;
            let entry = skips.entries.entry(transcript.clone()).or_default();
            match field("steps") {
                None => entry.push((None, reason)),
                Some(steps) => {
                    for part in steps.split(',').map(str::trim) {
                        let (from, to) = part.split_once('-').unwrap_or((part, part));
                        let number =
                            |text: &str| text.parse::<u64>().map_err(|_| format!("{transcript}: steps = {steps}"));
                        entry.push((Some(number(from)?..=number(to)?), reason.clone()));
                    }
                }
            }
        }
        Ok(skips)
    }

    /// Why a whole transcript is skipped.
    pub fn transcript(&self, name: &str) -> Option<&str> {
        self.find(name, Option::is_none)
    }

    /// Why a step's comparison is skipped.
    pub fn step(&self, name: &str, step: u64) -> Option<&str> {
        self.find(name, |steps| steps.as_ref().is_some_and(|range| range.contains(&step)))
    }

    fn find(&self, name: &str, wanted: impl Fn(&Steps) -> bool) -> Option<&str> {
        self.entries.get(name)?.iter().find(|(steps, _)| wanted(steps)).map(|(_, reason)| reason.as_str())
    }
}
