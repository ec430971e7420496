//! Plans, and how a plan is shared out among the components of a pod.

use serde::{Deserialize, Serialize};

use super::{Template, Volume};

pub(super) const WHOLE_PPM: u32 = 1_000_000;

/// What is sold. Requests are what the engine reserves before its overcommit policy, limits what the customer may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub code: String,
    pub name: String,
    /// Per period of 30 days, whole rupiah.
    pub price_idr: i64,
    pub cpu_request_milli: u32,
    pub cpu_limit_milli: u32,
    pub mem_request_mib: u32,
    pub mem_limit_mib: u32,
    pub disk_mib: u32,
}

impl Plan {
    pub fn resources(&self) -> Resources {
        Resources {
            cpu_request_milli: self.cpu_request_milli,
            cpu_limit_milli: self.cpu_limit_milli,
            mem_request_mib: self.mem_request_mib,
            mem_limit_mib: self.mem_limit_mib,
        }
    }
}

/// Requests and limits of a pod or of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resources {
    pub cpu_request_milli: u32,
    pub cpu_limit_milli: u32,
    pub mem_request_mib: u32,
    pub mem_limit_mib: u32,
}

impl Template {
    /// `whole` shared out, one entry per component in the template's order. The parts sum exactly to `whole`: the
    /// scheduler adds up containers, and a rounding loss would make the pod differ from what was admitted.
    /// `whole` need not be a plan of the template: the overcommit policy may have lowered the requests.
    pub fn share_out(&self, whole: &Resources) -> Vec<Resources> {
        let cpu: Vec<u32> = self
            .components
            .iter()
            .map(|component| component.share.cpu_ppm)
            .collect();
        let memory: Vec<u32> = self
            .components
            .iter()
            .map(|component| component.share.memory_ppm)
            .collect();
        let cpu_request = split(whole.cpu_request_milli, &cpu);
        let cpu_limit = split(whole.cpu_limit_milli, &cpu);
        let mem_request = split(whole.mem_request_mib, &memory);
        let mem_limit = split(whole.mem_limit_mib, &memory);
        (0..self.components.len())
            .map(|i| Resources {
                cpu_request_milli: cpu_request[i],
                cpu_limit_milli: cpu_limit[i],
                mem_request_mib: mem_request[i],
                mem_limit_mib: mem_limit[i],
            })
            .collect()
    }

    /// Size of every volume in MiB, in the template's order; the sizes sum to `disk_mib`.
    pub fn volume_sizes(&self, disk_mib: u32) -> Vec<(&Volume, u32)> {
        let shares: Vec<u32> = self.volumes.iter().map(|volume| volume.disk_ppm).collect();
        self.volumes.iter().zip(split(disk_mib, &shares)).collect()
    }
}

/// Largest-remainder split of `whole` by shares in ppm; equal remainders go to the earlier part.
fn split(whole: u32, shares_ppm: &[u32]) -> Vec<u32> {
    let exact = |ppm: u32| u64::from(whole) * u64::from(ppm);
    let unit = u64::from(WHOLE_PPM);
    let mut parts: Vec<u32> = shares_ppm
        .iter()
        .map(|&ppm| u32::try_from(exact(ppm) / unit).unwrap_or(whole))
        .collect();
    let given: u32 = parts.iter().sum();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|&i| (std::cmp::Reverse(exact(shares_ppm[i]) % unit), i));
    for &i in by_remainder.iter().take(whole.saturating_sub(given) as usize) {
        parts[i] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_split_always_sums_to_the_whole() {
        for (whole, shares, parts) in [
            (1000, vec![1_000_000], vec![1000]),
            (1001, vec![500_000, 500_000], vec![501, 500]),
            (100, vec![333_333, 333_333, 333_334], vec![33, 33, 34]),
            (10, vec![750_000, 250_000], vec![8, 2]),
            (0, vec![600_000, 400_000], vec![0, 0]),
            (u32::MAX, vec![1, 999_999], vec![4295, 4_294_963_000]),
        ] {
            assert_eq!(split(whole, &shares), parts, "{whole} by {shares:?}");
        }
    }
}
