//! Each thing that a cluster can show, and what the customer is told about it.

mod change;
mod trouble;
mod way_up;
mod world;

use serde_json::{Value, json};

use super::{Status, reason};
use crate::instances::phase::Phase;
use world::World;

fn nothing() -> Value {
    json!({})
}

fn expect(world: &World, phase: Phase, reason: &str) -> Status {
    let status = world.derive();
    assert_eq!((status.phase, status.reason), (phase, reason), "{}", status.message);
    assert!(reason::ALL.contains(&status.reason));
    assert!(status.message.ends_with('.'), "{}", status.message);
    // Names of our nodes, pods and namespaces, and what the cluster said, stay with us.
    for internal in ["node-b", "wp-0", "node(s)", "c-kf3a9x2b", "uid", "secret \""] {
        assert!(!status.message.contains(internal), "{}", status.message);
    }
    assert_eq!(
        status.ready,
        status.phase == Phase::Running,
        "ready is what running means"
    );
    status
}
