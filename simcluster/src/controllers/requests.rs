//! What a pod requests: the numbers that the scheduler counts with.
//!
//! Per resource the effective request (`rules::effective`) and the pod's overhead.

use serde_json::Value;

use crate::{dig::Dig, quantity::Quantity, rules::effective};

/// How the scheduler says that there is too little, in the order of the amounts.
pub(super) const TOO_LITTLE: [&str; 4] =
    ["Too many pods", "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage"];

/// Pods, CPU in milli, memory and ephemeral storage in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests(pub [i64; 4]);

impl Requests {
    /// The effective requests of one pod.
    pub fn of_pod(pod: &Value) -> Self {
        let need = |container: &Value| Self::of_list(container.at("resources.requests"));
        let mut running = effective(pod.at("spec"), need, |sum, more| sum.add(more, 1), Self::raise_to);
        running.add(&Self::of_list(pod.at("spec.overhead")), 1);
        running.0[0] = 1;
        running
    }

    /// A resource list such as `allocatable` or `requests`; what is missing is 0.
    pub fn of_list(list: &Value) -> Self {
        let amount = |name: &str| Quantity::of(&list[name]).unwrap_or_default();
        let units = |name: &str| i64::try_from(amount(name).units()).unwrap_or(i64::MAX);
        let cpu = i64::try_from(amount("cpu").milli()).unwrap_or(i64::MAX);
        Self([units("pods"), cpu, units("memory"), units("ephemeral-storage")])
    }

    /// Adds, or takes away if the sign is -1.
    pub fn add(&mut self, other: &Self, sign: i64) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = own.saturating_add(sign.saturating_mul(other)));
    }

    fn raise_to(&mut self, floor: &Self) {
        self.0.iter_mut().zip(floor.0).for_each(|(own, floor)| *own = floor.max(*own));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_counts_with_the_containers_and_below_later_init_containers() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
        for (early, app, expected) in [("900m", "400m", 900), ("0", "400m", 800), ("0", "600m", 900)] {
            let pod = json!({"spec": {
                "initContainers": [
                    {"name": "early", "resources": of(early)},
                    {"name": "db", "restartPolicy": "Always", "resources": of("300m")},
                    {"name": "late", "resources": of("500m")},
                ],
                "containers": [{"name": "app", "resources": of(app)}],
            }});
            assert_eq!(Requests::of_pod(&pod), Requests([1, expected, 0, 0]), "{early} {app}");
        }
    }
}
