//! The behaviour of controllers, kubelets and scripted applications, driven through the public interface of the crate.

mod support;

mod apps;
mod engine;
mod machines;
mod nodes;
mod pods;
mod quotas;
mod scheduling;
mod statefulsets;
mod volumes;
