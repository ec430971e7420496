//! The catalogue: which services can be bought, in which plans, under which terms.

pub mod template;
