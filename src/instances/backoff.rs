//! How long to wait after a failure: doubling, capped, and never the same for two rows.

use std::time::Duration;

use crate::clock::Entropy;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// The wait after the `failures`-th failure in a row, from half to the whole of 1 s, 2 s, 4 s … 5 min.
/// The draw keeps rows that failed together, say on a lost API server, from coming back together.
pub fn delay(entropy: &Entropy, failures: i32) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(0).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half = u32::try_from(whole.as_millis() / 2).unwrap_or(u32::MAX);
    whole.saturating_sub(Duration::from_millis(u64::from(entropy.below(half))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_cap_and_keeps_to_its_half() {
        let entropy = Entropy::seeded(1);
        for (failures, seconds) in [
            (-1, 1),
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (9, 256),
            (10, 300),
            (i32::MAX, 300),
        ] {
            let whole = Duration::from_secs(seconds);
            for _ in 0..50 {
                let delay = delay(&entropy, failures);
                assert!(delay <= whole && delay > whole / 2, "{failures}: {delay:?}");
            }
        }
    }
}
