//! What the tests stand on: a database each, a simulated cluster each, and the whole app around a manual clock.
//!
//! Run them by `make test`, which brings the PostgreSQL. Nothing here sleeps: [`TestApp::settle`] runs the tasks until
//! nothing is due, and [`eventually`] waits for a condition with a time-out.

mod app;
mod client;
pub mod database;
pub mod invariants;
pub mod process;
mod real;

pub use app::{Builder, PASSWORD, TestApp};
pub use client::{Answer, Client};

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Waits until `check` gives something, looking whenever the runtime is idle; fails after 30 s of real time.
pub async fn eventually<T, Fut>(what: &str, mut check: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Option<T>>,
{
    let looking = async || check().await;
    let found = within(Duration::from_secs(30), Duration::from_millis(20), looking).await;
    found.unwrap_or_else(|| panic!("did not happen within 30 s: {what}"))
}

/// Looks so often until `check` gives something; nothing if it does not in time.
pub async fn within<T>(patience: Duration, look: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let waiting = async {
        let mut tick = tokio::time::interval(look);
        loop {
            tick.tick().await;
            if let Some(found) = check().await {
                return found;
            }
        }
    };
    tokio::time::timeout(patience, waiting).await.ok()
}

/// Inputs that satisfy a service, from its catalogue entry: what is required and has no default.
pub fn inputs(service: &serde_json::Value) -> serde_json::Value {
    let inputs = service["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let needed = inputs
        .iter()
        .filter(|input| input["required"] == true && input["default"].is_null());
    let value = |input: &serde_json::Value| match input["type"].as_str() {
        Some("email") => "owner@example.com".into(),
        Some("string") => "Warung Padi".into(),
        Some("bool") => true.into(),
        Some("integer") => 1.into(),
        other => panic!("no value for an input of type {other:?}"),
    };
    needed
        .map(|input| (input["key"].as_str().unwrap_or_default().to_owned(), value(input)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Polls the work so many times and then drops it; its output, if it came that far.
pub async fn cut<T>(work: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}
