//! The live view: a WebSocket per browser tab, fed from the event log.
//!
//! What it promises (docs/live.md tells it to clients)
//! - **The state first, then every change.** A connection begins with a snapshot of the instances and the place in the
//!   log that it belongs to; every later event follows in order, none missing, none twice.
//! - **Whoever was away gets what it missed, or is told that it cannot.** `after=<last seq>` replays; when the log does
//!   not reach back that far ([`crate::events::trim`]), or too much happened, `complete: false` says so and a snapshot
//!   follows. Never a part of it.
//! - **A slow reader harms itself only.** Each connection has a queue bounded in bytes ([`queue`]); who outgrows it is
//!   closed with 4008 and comes again with `after`.
//! - **Nobody sees what is not theirs.** Customers follow their account's stream; support and admins follow all streams,
//!   in one order ([`crate::events::order`]). A session that ends takes its connections with it within [`hub::CHECK`].
//! - Any number of replicas: each reads the log itself ([`hub`]), and a client may resume on another one.
//!
//! How it works: a request shows a ticket ([`ticket`]) or a token, takes a seat ([`registry`]), which starts its queue,
//! and only then reads the log and the state ([`connection`]); numbers tell what of the queue is old already. [`wire`]
//! keeps the transport alive and says goodbye, with the reasons in [`close`].
//!
//! It writes nothing but tickets, takes no commands, and coalesces nothing: every event is sent.

pub mod close;
pub mod connection;
pub mod http;
pub mod hub;
pub mod message;
pub mod origin;
pub mod queue;
pub mod registry;
pub mod resume;
pub mod store;
pub mod ticket;
pub mod wire;

pub use http::{Deps, routes};
pub use hub::Hub;
pub use origin::Origins;
pub use wire::Pace;
