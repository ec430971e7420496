//! The behaviour of controllers, kubelets and scripted applications, driven through the public interface of the crate.

mod support;

mod apps;
mod engine;
mod nodes;
mod pods;
mod resources;
mod scheduling;
mod statefulsets;
mod volumes;
