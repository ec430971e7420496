//! What each container may ask for and use.
//!
//! Requests are the written request of the placement, limits the plan's; both are shared out by the template and sum up
//! exactly. Installation steps run while the app does not and may use what is the app's, so the pod never asks for more
//! than was admitted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{Input, quantity};
use crate::catalog::template::{Resources, Role};

/// One entry per component, in the template's order.
pub fn components(input: &Input<'_>) -> Vec<Resources> {
    let plan = input.plan.resources();
    let written = |value: i32, limit: u32| u32::try_from(value).unwrap_or(0).min(limit);
    let whole = Resources {
        cpu_request_milli: written(input.written_request.cpu_milli, plan.cpu_limit_milli),
        mem_request_mib: written(input.written_request.mem_mib, plan.mem_limit_mib),
        ..plan
    };
    let mut parts = input.template.share_out(&whole);
    level(&mut parts, |part| (&mut part.cpu_request_milli, part.cpu_limit_milli));
    level(&mut parts, |part| (&mut part.mem_request_mib, part.mem_limit_mib));
    parts
}

/// Rounding is done for requests and limits apart, and with three or more parts a request can come out one above its
/// limit, which the API server refuses. What is too much goes to the first part that has room; the sum stays.
fn level(parts: &mut [Resources], of: fn(&mut Resources) -> (&mut u32, u32)) {
    let mut surplus = 0;
    for part in &mut *parts {
        let (request, limit) = of(part);
        let over = request.saturating_sub(limit);
        *request -= over;
        surplus += over;
    }
    for part in parts {
        let (request, limit) = of(part);
        let room = limit.saturating_sub(*request).min(surplus);
        *request += room;
        surplus -= room;
    }
}

/// What an installation step may use: the app containers' part.
pub fn init_step(input: &Input<'_>) -> Resources {
    let zero = Resources {
        cpu_request_milli: 0,
        cpu_limit_milli: 0,
        mem_request_mib: 0,
        mem_limit_mib: 0,
    };
    components(input)
        .iter()
        .zip(&input.template.components)
        .filter(|(_, component)| component.role == Role::App)
        .fold(zero, |sum, (part, _)| Resources {
            cpu_request_milli: sum.cpu_request_milli + part.cpu_request_milli,
            cpu_limit_milli: sum.cpu_limit_milli + part.cpu_limit_milli,
            mem_request_mib: sum.mem_request_mib + part.mem_request_mib,
            mem_limit_mib: sum.mem_limit_mib + part.mem_limit_mib,
        })
}

pub fn requirements(part: Resources) -> ResourceRequirements {
    let both = |cpu_milli: u32, mem_mib: u32| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), quantity::cpu(cpu_milli.into())),
            ("memory".to_owned(), quantity::memory(mem_mib.into())),
        ]))
    };
    ResourceRequirements {
        requests: both(part.cpu_request_milli, part.mem_request_mib),
        limits: both(part.cpu_limit_milli, part.mem_limit_mib),
        ..ResourceRequirements::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Resources, level};

    /// All requests and limits of three parts up to 4: every way in which rounding could put them.
    #[test]
    fn no_request_is_above_its_limit_and_nothing_is_lost() {
        let digit = |number: u32, place: u32| number / 5_u32.pow(place) % 5;
        for number in 0..5_u32.pow(6) {
            let pairs = [0, 2, 4].map(|place| (digit(number, place), digit(number, place + 1)));
            let mut parts = pairs.map(|(request, limit)| Resources {
                cpu_request_milli: request,
                cpu_limit_milli: limit,
                mem_request_mib: 7,
                mem_limit_mib: 7,
            });
            level(&mut parts, |part| (&mut part.cpu_request_milli, part.cpu_limit_milli));
            assert!(
                parts
                    .iter()
                    .all(|part| part.cpu_request_milli <= part.cpu_limit_milli && part.mem_request_mib == 7),
                "{pairs:?} → {parts:?}"
            );
            let sum = |of: fn(&(u32, u32)) -> u32| pairs.iter().map(of).sum::<u32>();
            let kept: u32 = parts.iter().map(|part| part.cpu_request_milli).sum();
            assert_eq!(
                kept,
                sum(|pair| pair.0).min(sum(|pair| pair.1)),
                "{pairs:?} → {parts:?}"
            );
        }
    }
}
