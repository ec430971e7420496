//! The behaviour of controllers, kubelets and scripted applications, driven through the public interface of the crate.

mod support;

mod pods;
mod statefulsets;
