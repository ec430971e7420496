//! Lumbung: sells running services as monthly subscriptions on K3s.
//!
//! Start at `docs/architecture.md`; each folder here is one domain, `app` alone knows them all.

pub mod app;
pub mod audit;
pub mod billing;
pub mod catalog;
pub mod clock;
pub mod commands;
pub mod config;
pub mod crash;
pub mod crypto;
pub mod db;
pub mod events;
pub mod http;
pub mod identity;
pub mod instances;
pub mod keys;
pub mod kube;
pub mod live;
pub mod nodes;
pub mod operations;
pub mod regions;
pub mod scheduling;
pub mod simulated;
pub mod subscriptions;
pub mod tasks;
pub mod telemetry;
