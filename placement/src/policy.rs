//! The operator's choices: how much a written request promises, and how much of the cluster stays free.
//!
//! A [`Policy`] exists only if it is valid, also when it was read from JSON, so nothing below it checks again.
//! It does not carry its version: whoever stores policies counts them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Load, Predicted, Resources,
    model::Node,
    resources::{Dimension, PPM},
    usage::{self, UsageRule},
};

/// What workloads of ours may use on a node, in reference threads.
fn usable(node: &Node) -> Predicted {
    let free = node.allocatable.minus(node.foreign);
    let speed = i128::from(free.cpu_milli.max(0)) * i128::from(node.cpu_speed_ppm.max(0)) / i128::from(PPM);
    Predicted {
        cpu_milli: i64::try_from(speed).unwrap_or(i64::MAX),
        mem_mib: free.mem_mib,
    }
}

/// What is held back from new orders, so that a failure finds room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reserve {
    #[default]
    None,
    /// This fraction of all allocatable CPU, memory and pods stays free, wherever in the cluster. It promises nothing
    /// about any one node: the loss of a node larger than the fraction is not absorbed.
    FractionPpm(i64),
    /// Every protected workload carries the node that takes it if its own dies, and every node keeps free what the worst
    /// single loss would bring to it.
    NPlusOne,
}

/// The fields of a [`Policy`], before validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Limits promised per CPU requested: 4_000_000 is 4:1.
    pub cpu_overcommit_ppm: i64,
    /// The same for memory, between 1:1 and 4:1. Memory cannot be squeezed as CPU can: what is promised twice and used
    /// twice is killed, so the written request never falls below the plan's own.
    pub mem_overcommit_ppm: i64,
    pub reserve: Reserve,
    /// Kept free on every node for short-lived setup pods, which are placed by kube-scheduler and not by us.
    pub setup_reserve: Resources,
    /// How the peak of what workloads use is predicted. Then it has to stay below the rule's lines, on every node and
    /// after every single loss, beside the requests, which have to fit anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRule>,
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            cpu_overcommit_ppm: 4 * PPM,
            mem_overcommit_ppm: 2 * PPM,
            reserve: Reserve::None,
            setup_reserve: Resources {
                cpu_milli: 100,
                mem_mib: 256,
                disk_mib: 0,
                pods: 4,
            },
            usage: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PolicySpec", into = "PolicySpec")]
pub struct Policy {
    spec: PolicySpec,
}

/// A field of a policy that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyError {
    pub field: &'static str,
    pub value: i64,
    pub min: i64,
    pub max: i64,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, min, max } = self;
        write!(f, "{field} is {value}, but has to be between {min} and {max}")
    }
}

impl std::error::Error for PolicyError {}

const CPU_OVERCOMMIT: (i64, i64) = (PPM, 20 * PPM);
const MEM_OVERCOMMIT: (i64, i64) = (PPM, 4 * PPM);
/// A reserve of everything would be a cluster that sells nothing, and no node could be added that changes it.
const RESERVE: (i64, i64) = (0, 900_000);

impl Policy {
    pub fn new(spec: PolicySpec) -> Result<Self, PolicyError> {
        let within = |field, value, (min, max): (i64, i64)| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(PolicyError { field, value, min, max })
            }
        };
        within("cpu_overcommit_ppm", spec.cpu_overcommit_ppm, CPU_OVERCOMMIT)?;
        within("mem_overcommit_ppm", spec.mem_overcommit_ppm, MEM_OVERCOMMIT)?;
        if let Reserve::FractionPpm(fraction) = spec.reserve {
            within("reserve.fraction_ppm", fraction, RESERVE)?;
        }
        let amounts = (0, Resources::MAX_AMOUNT);
        within("setup_reserve.cpu_milli", spec.setup_reserve.cpu_milli, amounts)?;
        within("setup_reserve.mem_mib", spec.setup_reserve.mem_mib, amounts)?;
        within("setup_reserve.disk_mib", spec.setup_reserve.disk_mib, amounts)?;
        within("setup_reserve.pods", spec.setup_reserve.pods, amounts)?;
        Ok(Self { spec })
    }

    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    pub fn reserve(&self) -> Reserve {
        self.spec.reserve
    }

    pub fn setup_reserve(&self) -> Resources {
        self.spec.setup_reserve
    }

    /// The request to write into the pod: the limit divided by the overcommit ratio, rounded up, and never below what
    /// the plan requests. Disk and pods are promised once. A limit of zero is no limit, and gives nothing to divide.
    /// A plan whose request is within its limit gets a request within its limit, which Kubernetes insists on.
    pub fn written_request(&self, plan_request: Resources, plan_limit: Resources) -> Resources {
        let share = |limit: i64, ratio: i64| limit.max(0).saturating_mul(PPM).saturating_add(ratio - 1) / ratio;
        let limit = plan_limit.in_range();
        let shared = Resources {
            cpu_milli: share(limit.cpu_milli, self.spec.cpu_overcommit_ppm),
            mem_mib: share(limit.mem_mib, self.spec.mem_overcommit_ppm),
            ..limit
        };
        plan_request.in_range().max(shared)
    }

    /// Whether expected use counts beside the requests.
    pub fn goes_by_usage(&self) -> bool {
        self.spec.usage.is_some()
    }

    pub fn usage(&self) -> Option<&UsageRule> {
        self.spec.usage.as_ref()
    }

    /// The resource whose expected peak on a node would pass the rule's line. What pods that are not ours request counts
    /// as used. Use is measured in reference threads, of which a fast node has more.
    pub(crate) fn over_line(&self, load: &Load, node: &Node) -> Option<Dimension> {
        let rule = self.spec.usage.as_ref()?;
        let room = rule.room(usable(node));
        let peak = rule.predict(load);
        if peak.cpu_milli > room.cpu_milli {
            return Some(Dimension::Cpu);
        }
        (peak.mem_mib > room.mem_mib).then_some(Dimension::Memory)
    }

    /// Whether a node takes nothing new because of what is used on it now.
    pub fn is_hot(&self, node: &Node, used: Predicted) -> bool {
        let hot = |rule| usage::is_hot(node.hot, used, usable(node), rule);
        self.spec.usage.as_ref().is_some_and(hot)
    }

    /// Whether a hot node would be back below the lower lines with this load; `None` without a usage rule.
    pub(crate) fn cools(&self, load: &Load, node: &Node) -> Option<bool> {
        let rule = self.spec.usage.as_ref()?;
        Some(!usage::is_hot(true, rule.predict(load), usable(node), rule))
    }

    /// The request to write into a pod whose use is known; never above its limit, and at least what the kubelet needs to
    /// tell it from a pod without any.
    pub fn written_request_of(&self, load: &Load, plan_request: Resources, plan_limit: Resources) -> Resources {
        let plain = self.written_request(plan_request, plan_limit);
        let Some(rule) = &self.spec.usage else { return plain };
        let written = rule.written(load);
        Resources {
            cpu_milli: written.cpu_milli.clamp(1, plan_limit.cpu_milli.max(1)),
            mem_mib: written.mem_mib.clamp(1, plan_limit.mem_mib.max(1)),
            ..plain
        }
    }

    /// How much free must remain of `total`, rounded up. A node's own disk is left out: what is on it stays behind.
    pub(crate) fn reserved(&self, total: Resources) -> Resources {
        let Reserve::FractionPpm(fraction) = self.spec.reserve else {
            return Resources::ZERO;
        };
        let part = |amount: i64| {
            let rounded_up = (i128::from(amount) * i128::from(fraction) + i128::from(PPM - 1)) / i128::from(PPM);
            i64::try_from(rounded_up).unwrap_or(i64::MAX)
        };
        Resources {
            cpu_milli: part(total.cpu_milli),
            mem_mib: part(total.mem_mib),
            disk_mib: 0,
            pods: part(total.pods),
        }
    }

    /// Whether the cluster-wide reserve counts this resource.
    pub(crate) fn reserves(&self, dimension: Dimension) -> bool {
        matches!(self.spec.reserve, Reserve::FractionPpm(_)) && dimension != Dimension::Disk
    }
}

impl TryFrom<PolicySpec> for Policy {
    type Error = PolicyError;

    fn try_from(spec: PolicySpec) -> Result<Self, PolicyError> {
        Self::new(spec)
    }
}

impl From<Policy> for PolicySpec {
    fn from(policy: Policy) -> Self {
        policy.spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(cpu_milli: i64, mem_mib: i64) -> Resources {
        Resources {
            cpu_milli,
            mem_mib,
            disk_mib: 0,
            pods: 1,
        }
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Policy::new(PolicySpec::default()), Ok(Policy::default()));
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let good = PolicySpec::default();
        let setup = good.setup_reserve;
        let cases = [
            (
                "cpu_overcommit_ppm",
                PolicySpec {
                    cpu_overcommit_ppm: 999_999,
                    ..good
                },
            ),
            (
                "mem_overcommit_ppm",
                PolicySpec {
                    mem_overcommit_ppm: 4_000_001,
                    ..good
                },
            ),
            (
                "reserve.fraction_ppm",
                PolicySpec {
                    reserve: Reserve::FractionPpm(1_000_000),
                    ..good
                },
            ),
            (
                "reserve.fraction_ppm",
                PolicySpec {
                    reserve: Reserve::FractionPpm(-1),
                    ..good
                },
            ),
            (
                "setup_reserve.cpu_milli",
                PolicySpec {
                    setup_reserve: Resources { cpu_milli: -1, ..setup },
                    ..good
                },
            ),
            (
                "setup_reserve.mem_mib",
                PolicySpec {
                    setup_reserve: Resources { mem_mib: -1, ..setup },
                    ..good
                },
            ),
            (
                "setup_reserve.disk_mib",
                PolicySpec {
                    setup_reserve: Resources { disk_mib: -1, ..setup },
                    ..good
                },
            ),
            (
                "setup_reserve.pods",
                PolicySpec {
                    setup_reserve: Resources {
                        pods: i64::MAX,
                        ..setup
                    },
                    ..good
                },
            ),
        ];
        for (field, spec) in cases {
            let error = Policy::new(spec).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().starts_with(field), "{error}");
            let json = serde_json::to_string(&spec).unwrap();
            assert!(
                serde_json::from_str::<Policy>(&json)
                    .unwrap_err()
                    .to_string()
                    .contains(field),
                "{json}"
            );
        }
    }

    #[test]
    fn the_written_request_is_the_shared_limit_and_never_below_the_plan() {
        let policy = |cpu, mem| {
            let spec = PolicySpec {
                cpu_overcommit_ppm: cpu,
                mem_overcommit_ppm: mem,
                ..PolicySpec::default()
            };
            Policy::new(spec).unwrap()
        };
        let (request, limit) = (amount(250, 512), amount(1000, 1024));
        let cases = [
            (policy(4 * PPM, 2 * PPM), amount(250, 512)),
            (policy(PPM, PPM), amount(1000, 1024)),
            (policy(8 * PPM, 4 * PPM), amount(250, 512)),
            (policy(3 * PPM, 1_500_000), amount(334, 683)),
        ];
        for (policy, written) in cases {
            assert_eq!(policy.written_request(request, limit), written, "{policy:?}");
        }
        assert_eq!(policy(PPM, PPM).written_request(request, Resources::ZERO), request);
    }
}
