//! Named abort points for the crash matrix.
//!
//! `LUMBUNG_CRASH_AT=name` makes the process abort, without any clean-up, the first time it comes to that point. The
//! file named by `LUMBUNG_CRASH_LOG` learns the name first, so that a test can tell a point that was never reached.
//! Release builds compile this to nothing.

/// Every point there is; the crash matrix walks this list.
pub const POINTS: &[&str] = &[];

/// Aborts here when told to.
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    {
        debug_assert!(POINTS.contains(&name), "unlisted crash point {name}");
        use std::sync::LazyLock;
        static AT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LUMBUNG_CRASH_AT").ok());
        if AT.as_deref() == Some(name) {
            if let Ok(log) = std::env::var("LUMBUNG_CRASH_LOG") {
                let _ = std::fs::write(log, name);
            }
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
