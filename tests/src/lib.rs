//! What the tests stand on: a database each, a simulated cluster each, and the whole app around a manual clock.
//!
//! Run them by `make test`, which brings the PostgreSQL. Nothing here sleeps: [`TestApp::settle`] runs the tasks until
//! nothing is due, and [`eventually`] waits for a condition with a time-out.

mod app;
mod client;
pub mod database;
pub mod process;

pub use app::{Builder, TestApp};
pub use client::{Answer, Client};

use std::time::Duration;

/// Waits until `check` gives something, looking whenever the runtime is idle; fails after 30 s of real time.
pub async fn eventually<T, Fut>(what: &str, mut check: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Option<T>>,
{
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Some(found) = check().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(found) => found,
        Err(_) => panic!("did not happen within 30 s: {what}"),
    }
}
