//! What a pod counts for on its node, by the scheduler's own formula.
//!
//! Containers and restartable init containers (sidecars) run together; an ordinary init container runs alone beside
//! the sidecars that were started before it. The pod counts for the larger of the two, plus its overhead.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::quantity;

/// Milli-CPU and MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub cpu_milli: i64,
    pub mem_mib: i64,
}

impl Requests {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli + other.cpu_milli,
            mem_mib: self.mem_mib + other.mem_mib,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            mem_mib: self.mem_mib.max(other.mem_mib),
        }
    }
}

fn of_container(container: &Container) -> Requests {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let amount = |name: &str| {
        requests
            .and_then(|requests| requests.get(name))
            .map(|quantity| quantity.0.as_str())
    };
    Requests {
        cpu_milli: amount("cpu").and_then(quantity::milli_ceil).unwrap_or(0),
        mem_mib: amount("memory").and_then(quantity::mib_ceil).unwrap_or(0),
    }
}

/// The pod's effective requests.
pub fn effective(pod: &Pod) -> Requests {
    let Some(spec) = &pod.spec else {
        return Requests::default();
    };
    let mut sidecars = Requests::default();
    let mut peak = Requests::default();
    for init in spec.init_containers.iter().flatten() {
        let own = of_container(init);
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(own);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars.plus(own));
        }
    }
    let running = spec.containers.iter().map(of_container).fold(sidecars, Requests::plus);
    let overhead = spec
        .overhead
        .iter()
        .flatten()
        .fold(Requests::default(), |sum, (name, quantity)| match name.as_str() {
            "cpu" => Requests {
                cpu_milli: sum.cpu_milli + quantity::milli_ceil(&quantity.0).unwrap_or(0),
                ..sum
            },
            "memory" => Requests {
                mem_mib: sum.mem_mib + quantity::mib_ceil(&quantity.0).unwrap_or(0),
                ..sum
            },
            _ => sum,
        });
    running.max(peak).plus(overhead)
}

/// Pods that have ended count for nothing.
pub fn counts(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        serde_json::json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn init_containers_count_only_where_they_are_larger() {
        let mut sidecar = container("100m", "128Mi");
        sidecar["restartPolicy"] = "Always".into();
        let small = pod(
            serde_json::json!({"initContainers": [sidecar, container("50m", "64Mi")],
                                           "containers": [container("150m", "384Mi")]}),
        );
        assert_eq!(
            effective(&small),
            Requests {
                cpu_milli: 250,
                mem_mib: 512
            }
        );
        let large = pod(
            serde_json::json!({"initContainers": [sidecar, container("500m", "64Mi")],
                                           "containers": [container("150m", "384Mi")],
                                           "overhead": {"cpu": "10m"}}),
        );
        assert_eq!(
            effective(&large),
            Requests {
                cpu_milli: 610,
                mem_mib: 512
            }
        );
        assert_eq!(
            effective(&pod(serde_json::json!({"containers": [{"name": "c"}]}))),
            Requests::default()
        );
    }
}
