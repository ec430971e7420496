//! Admission: what a namespace's limit ranges add to pods, and what its policies refuse.
//!
//! - `limits`: LimitRange defaults and bounds for containers
//! - `quota`: ResourceQuota, counted as a real API server does: from the quota's status, which it raises in the same step
//! - `security`: the Pod Security level that the namespace enforces

mod limits;
pub(crate) mod quota;
mod security;

use serde_json::Value;

use crate::{
    resource::{self, Kind},
    status::Status,
    store::State,
};

/// Admission that may change a new object.
pub(crate) fn mutate(state: &State, kind: &'static Kind, object: &mut Value) {
    if kind.is(&resource::POD) {
        limits::apply_defaults(state, object);
    }
}

/// Admission that may refuse a write.
pub(crate) fn validate(
    state: &mut State,
    kind: &'static Kind,
    old: Option<&Value>,
    new: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    if old.is_some_and(|old| old["spec"] == new["spec"]) {
        return Ok(());
    }
    if kind.is(&resource::POD) && old.is_none() {
        security::check(state, new)?;
        limits::check(state, new)?;
    }
    if kind.is(&resource::PERSISTENT_VOLUME_CLAIM)
        && let Some(old) = old
    {
        limits::check_growth(state, old, new)?;
    }
    quota::charge(state, kind, old, new, dry_run)
}
