//! The client that Lumbung uses, against the simulated API or a real one: each behaviour that the control plane builds on.

mod applies;
mod objects;
mod policies;
mod support;
