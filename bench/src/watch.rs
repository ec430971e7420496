//! Wall-clock time of a task: benchmarks are where the ambient clock is wanted.

use std::time::Instant;

#[allow(clippy::disallowed_methods)] // Nothing here decides by the time.
pub fn start() -> Instant {
    Instant::now()
}
