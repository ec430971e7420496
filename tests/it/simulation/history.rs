//! What a seed has done so far, printed when its test fails.

/// Lines in the order in which things happened.
#[derive(Debug)]
pub struct History {
    seed: u64,
    lines: Vec<String>,
    /// What still differed from what was wanted when the platform was last looked at.
    wrong: Vec<String>,
}

impl History {
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            lines: Vec::new(),
            wrong: Vec::new(),
        }
    }

    pub fn add(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub fn look(&mut self, wrong: Vec<String>) {
        self.wrong = wrong;
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("history of seed {} (again: LUMBUNG_SIM_SEED={}):", self.seed, self.seed);
        for (n, line) in self.lines.iter().enumerate() {
            eprintln!("{n:4}  {line}");
        }
        for line in &self.wrong {
            eprintln!("wrong {line}");
        }
    }
}
