//! What a pod requests: the numbers that the scheduler counts with.
//!
//! A pod's effective request is, per resource, the larger of what its long-running containers need together (main
//! containers and restartable sidecars) and what its start needs at most (each ordinary init container on top of the
//! sidecars that were started before it), plus the pod's overhead: the formula of Kubernetes since native sidecars.

use serde_json::Value;

use super::view::list;
use crate::quantity::Quantity;

/// What is counted on a node. CPU in milli, memory and ephemeral storage in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub cpu: i128,
    pub memory: i128,
    pub storage: i128,
    pub pods: i128,
}

impl Requests {
    /// The effective requests of one pod.
    pub fn of_pod(pod: &Value) -> Self {
        let mut all = Self::of_containers(&pod["spec"], "requests");
        all.pods = 1;
        all
    }

    /// The same formula over `requests` or `limits`.
    pub fn of_containers(spec: &Value, side: &str) -> Self {
        let mut running = Self::default();
        let mut starting = Self::default();
        for container in list(&spec["initContainers"]) {
            let own = Self::of_list(&container["resources"][side]);
            if container["restartPolicy"] == "Always" {
                running.add(&own);
                starting.raise_to(&running);
            } else {
                let mut at_once = running;
                at_once.add(&own);
                starting.raise_to(&at_once);
            }
        }
        for container in list(&spec["containers"]) {
            running.add(&Self::of_list(&container["resources"][side]));
        }
        running.raise_to(&starting);
        running.add(&Self::of_list(&spec["overhead"]));
        running
    }

    /// A resource list such as `allocatable` or `requests`; what is missing is 0.
    pub fn of_list(list: &Value) -> Self {
        let amount = |name: &str| quantity(&list[name]).unwrap_or_default();
        Self {
            cpu: amount("cpu").milli(),
            memory: amount("memory").units(),
            storage: amount("ephemeral-storage").units(),
            pods: amount("pods").units(),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.storage += other.storage;
        self.pods += other.pods;
    }

    pub fn subtract(&mut self, other: &Self) {
        self.cpu -= other.cpu;
        self.memory -= other.memory;
        self.storage -= other.storage;
        self.pods -= other.pods;
    }

    fn raise_to(&mut self, floor: &Self) {
        self.cpu = self.cpu.max(floor.cpu);
        self.memory = self.memory.max(floor.memory);
        self.storage = self.storage.max(floor.storage);
        self.pods = self.pods.max(floor.pods);
    }
}

/// An amount that is written in an object; `None` if there is none.
pub(crate) fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_counts_with_the_containers_and_below_later_init_containers() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let pod = json!({"spec": {
            "initContainers": [
                {"name": "early", "resources": of("900m")},
                {"name": "db", "restartPolicy": "Always", "resources": of("300m")},
                {"name": "late", "resources": of("500m")},
            ],
            "containers": [{"name": "app", "resources": of("400m")}],
        }});
        assert_eq!(Requests::of_pod(&pod), Requests { cpu: 900, memory: 0, storage: 0, pods: 1 });
        let mut without_early = pod.clone();
        without_early["spec"]["initContainers"][0]["resources"] = json!({});
        assert_eq!(Requests::of_pod(&without_early).cpu, 800);
        without_early["spec"]["containers"][0]["resources"] = of("600m");
        assert_eq!(Requests::of_pod(&without_early).cpu, 900);
    }
}
