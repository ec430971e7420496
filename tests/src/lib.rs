//! Test support: what a test needs around the code under test.

pub mod database;
