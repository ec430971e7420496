//! The one test binary: a module per domain.

mod catalog;
