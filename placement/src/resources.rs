//! Amounts of the four resources that placement counts, and their arithmetic.
//!
//! Whole numbers only: milli-CPU, MiB, MiB, pods. A difference may be negative (a node can shrink under what runs on
//! it), so the type is signed. Arithmetic saturates; amounts that enter a cluster are held to [`Resources::MAX_AMOUNT`],
//! which leaves room to add up a million nodes and to scale to parts per million without ever saturating.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Parts per million in a whole.
pub const PPM: i64 = 1_000_000;

/// One of the counted resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Cpu,
    Memory,
    Disk,
    Pods,
}

impl Dimension {
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Disk, Self::Pods];
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Pods => "pods",
        })
    }
}

/// An amount of each resource: thousandths of a CPU, MiB of memory, MiB of the node's own disk, pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    pub cpu_milli: i64,
    pub mem_mib: i64,
    pub disk_mib: i64,
    pub pods: i64,
}

impl Resources {
    pub const ZERO: Self = Self {
        cpu_milli: 0,
        mem_mib: 0,
        disk_mib: 0,
        pods: 0,
    };

    /// The largest amount that a node or a workload may state: 2^30, for instance one pebibyte in MiB. Room is compared in
    /// 32 bits, and two of these still fit.
    pub const MAX_AMOUNT: i64 = 1 << 30;

    #[inline]
    pub const fn get(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Cpu => self.cpu_milli,
            Dimension::Memory => self.mem_mib,
            Dimension::Disk => self.disk_mib,
            Dimension::Pods => self.pods,
        }
    }

    /// Combines two amounts resource by resource.
    #[inline]
    pub fn zip(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            cpu_milli: f(self.cpu_milli, other.cpu_milli),
            mem_mib: f(self.mem_mib, other.mem_mib),
            disk_mib: f(self.disk_mib, other.disk_mib),
            pods: f(self.pods, other.pods),
        }
    }

    #[inline]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    #[inline]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    #[inline]
    pub fn times(self, count: i64) -> Self {
        self.zip(Self::ZERO, |amount, _| amount.saturating_mul(count))
    }

    /// The larger of the two, resource by resource.
    #[inline]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, Ord::max)
    }

    /// The smaller of the two, resource by resource.
    #[inline]
    pub fn min(self, other: Self) -> Self {
        self.zip(other, Ord::min)
    }

    /// How much `self`, as what is free, lacks to give `demand`; zero where nothing is demanded, as kube-scheduler
    /// has it: a node that is over on disk still takes a pod that asks for none.
    #[inline]
    pub fn shortage(self, demand: Self) -> Self {
        self.zip(demand, |free, demand| {
            if demand > 0 {
                demand.saturating_sub(free).max(0)
            } else {
                0
            }
        })
    }

    #[inline]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The first resource whose amount is negative or above [`Self::MAX_AMOUNT`].
    pub fn out_of_range(self) -> Option<Dimension> {
        Dimension::ALL
            .into_iter()
            .find(|&dimension| !(0..=Self::MAX_AMOUNT).contains(&self.get(dimension)))
    }

    /// Every amount moved into the range that [`Self::out_of_range`] accepts.
    #[inline]
    pub(crate) fn in_range(self) -> Self {
        self.zip(Self::ZERO, |amount, _| amount.clamp(0, Self::MAX_AMOUNT))
    }
}

/// "250m CPU, 512 MiB of memory": only what is not zero.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for dimension in Dimension::ALL {
            let amount = self.get(dimension);
            if amount == 0 {
                continue;
            }
            f.write_str(separator)?;
            separator = ", ";
            match dimension {
                Dimension::Cpu => write!(f, "{amount}m CPU")?,
                Dimension::Memory => write!(f, "{amount} MiB of memory")?,
                Dimension::Disk => write!(f, "{amount} MiB of disk")?,
                Dimension::Pods => write!(f, "{amount} pod{}", if amount == 1 { "" } else { "s" })?,
            }
        }
        if separator.is_empty() {
            f.write_str("nothing")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_demanded_is_never_short() {
        let free = Resources {
            cpu_milli: -50,
            mem_mib: 100,
            disk_mib: -1,
            pods: 0,
        };
        let demand = Resources {
            cpu_milli: 250,
            mem_mib: 100,
            disk_mib: 0,
            pods: 1,
        };
        let short = Resources {
            cpu_milli: 300,
            mem_mib: 0,
            disk_mib: 0,
            pods: 1,
        };
        assert_eq!(free.shortage(demand), short);
    }

    #[test]
    fn amounts_read_as_an_operator_writes_them() {
        let amount = Resources {
            cpu_milli: 250,
            mem_mib: 512,
            disk_mib: 0,
            pods: 1,
        };
        assert_eq!(amount.to_string(), "250m CPU, 512 MiB of memory, 1 pod");
        assert_eq!(Resources::ZERO.to_string(), "nothing");
    }

    #[test]
    fn arithmetic_saturates() {
        let most = Resources {
            cpu_milli: i64::MAX,
            ..Resources::ZERO
        };
        assert_eq!(most.plus(most), most);
        assert_eq!(most.times(3), most);
        assert_eq!(Resources::ZERO.minus(most).minus(most).cpu_milli, i64::MIN);
    }

    #[test]
    fn the_range_names_the_resource_that_leaves_it() {
        let amount = Resources {
            disk_mib: Resources::MAX_AMOUNT + 1,
            ..Resources::ZERO
        };
        assert_eq!(amount.out_of_range(), Some(Dimension::Disk));
        assert_eq!(
            Resources {
                pods: -1,
                ..Resources::ZERO
            }
            .out_of_range(),
            Some(Dimension::Pods)
        );
        assert_eq!(amount.in_range().out_of_range(), None);
    }
}
