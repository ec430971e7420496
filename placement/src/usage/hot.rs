//! When a node has become too busy for new orders, and when it may take them again.

use super::rule::{Predicted, UsageRule};
use crate::PPM;

/// A node is hot from the trigger of either resource on, and stays hot until both are below it by the rule's distance:
/// a node that hovers around a line is not opened and closed by every sample. Without capacity nothing is to be had, so
/// any use is hot.
pub fn is_hot(was_hot: bool, used: Predicted, capacity: Predicted, rule: &UsageRule) -> bool {
    let spec = rule.spec();
    let slack = if was_hot { spec.reopen_below_ppm } else { 0 };
    let beyond = |used: i64, capacity: i64, trigger_ppm: i64| {
        let line = i128::from(capacity.max(0)) * i128::from(trigger_ppm - slack);
        i128::from(used) * i128::from(PPM) >= line && used > 0
    };
    beyond(used.cpu_milli, capacity.cpu_milli, spec.cpu_trigger_ppm)
        || beyond(used.mem_mib, capacity.mem_mib, spec.mem_trigger_ppm)
}
