//! Whether a client that was away can be given exactly what it missed.

/// More than this is slower to replay than a snapshot is to read.
pub const MAX_MISSED: i64 = 1000;

/// Why a resume is not complete. The client forgets what it knows and takes the snapshot that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// Some of it is older than what is kept.
    Trimmed,
    TooMany,
    /// The client knows numbers that the log has not reached: it talked to another database, or to this one before it
    /// was restored from a backup.
    Ahead,
}

/// The log's numbers that are there: `first..=last`; `first` is `last + 1` when there are none.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub first: i64,
    pub last: i64,
}

/// Whether everything after `after` is there, and little enough to send.
pub fn decide(after: i64, kept: Kept) -> Result<(), Incomplete> {
    if after > kept.last {
        Err(Incomplete::Ahead)
    } else if after.saturating_add(1) < kept.first {
        Err(Incomplete::Trimmed)
    } else if kept.last - after > MAX_MISSED {
        Err(Incomplete::TooMany)
    } else {
        Ok(())
    }
}

/// What to do with an event of an account's stream, when `sent` was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The snapshot, or what was resumed, holds it already.
    Old,
    Next,
    /// Something between was not delivered: it must be read from the log first.
    Gap,
}

pub fn fit(sent: i64, seq: i64) -> Fit {
    match seq.checked_sub(sent) {
        Some(1) => Fit::Next,
        Some(2..) => Fit::Gap,
        _ => Fit::Old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_is_complete_or_says_why_not() {
        use Incomplete::{Ahead, TooMany, Trimmed};
        for (after, first, last, expected) in [
            // An empty stream, and one of which nothing is left.
            (0, 1, 0, Ok(())),
            (1, 1, 0, Err(Ahead)),
            (10, 11, 10, Ok(())),
            (9, 11, 10, Err(Trimmed)),
            // Everything, something, nothing missed.
            (0, 1, 10, Ok(())),
            (4, 1, 10, Ok(())),
            (10, 1, 10, Ok(())),
            (11, 1, 10, Err(Ahead)),
            // The last one that can be complete, and the first that cannot.
            (4, 5, 10, Ok(())),
            (3, 5, 10, Err(Trimmed)),
            (0, 5, 10, Err(Trimmed)),
            (0, 1, MAX_MISSED, Ok(())),
            (0, 1, MAX_MISSED + 1, Err(TooMany)),
            (0, 5, MAX_MISSED + 10, Err(Trimmed)),
            (i64::MAX, 1, 10, Err(Ahead)),
        ] {
            assert_eq!(
                decide(after, Kept { first, last }),
                expected,
                "after {after} of {first}..={last}"
            );
        }
    }

    #[test]
    fn events_follow_one_another_or_not() {
        for (sent, seq, expected) in [
            (0, 1, Fit::Next),
            (5, 6, Fit::Next),
            (5, 5, Fit::Old),
            (5, 1, Fit::Old),
            (5, 7, Fit::Gap),
            (0, i64::MAX, Fit::Gap),
        ] {
            assert_eq!(fit(sent, seq), expected, "{seq} after {sent}");
        }
    }
}
