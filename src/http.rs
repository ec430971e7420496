//! HTTP conventions shared by every domain's `http.rs`: problems, extractors, pages, idempotency, limits.

pub mod extract;
pub mod idempotency;
pub mod layers;
pub mod limit;
pub mod page;
pub mod problem;
