//! The three machines of the first user: a Ryzen 9 3900X, a Ryzen 9 6900HS and an i7, with default pods (a request of
//! 250m and 512 MiB). Allocatable is assumed as 22.5 threads and 60 GiB, 15.5 and 30, 7.5 and 30.

use lumbung_placement::{NodeKey, Policy, PolicySpec, Reason, Reserve, Resources, Workload, headroom};

use crate::support::{amounts, bare, fill, machines, violations, with_reserve, workload};

/// What a default plan writes into its pod: a quarter of its 1 vCPU and half of its 1 GiB.
fn default_pod(policy: &Policy) -> Workload {
    let limit = amounts(1000, 1024, 0, 0);
    let request = policy.written_request(amounts(250, 512, 0, 1), limit);
    Workload {
        request,
        limit,
        ..workload(1)
    }
}

fn admitted(policy: &Policy) -> (i64, [usize; 3]) {
    let mut filled = machines();
    let chosen = fill(&mut filled, policy, &default_pod(policy));
    assert!(violations(&filled).is_empty());
    let on = |key| chosen.iter().filter(|&&node| node == NodeKey(key)).count();
    let counted = headroom(&machines(), policy, &default_pod(policy)).count;
    assert_eq!(usize::try_from(counted), Ok(chosen.len()));
    (counted, [on(1), on(2), on(3)])
}

#[test]
fn without_any_reserve_180_pods_are_admitted() {
    assert_eq!(admitted(&bare()), (180, [90, 60, 30]));
}

#[test]
fn room_for_setup_pods_costs_three() {
    assert_eq!(admitted(&Policy::default()), (177, [89, 59, 29]));
}

#[test]
fn a_flat_reserve_costs_its_fraction_and_is_named() {
    for (fraction, count) in [(300_000, 127), (350_000, 118), (400_000, 109)] {
        let policy = with_reserve(Reserve::FractionPpm(fraction));
        assert_eq!(admitted(&policy).0, count, "{fraction} ppm");
        assert_eq!(
            headroom(&machines(), &policy, &default_pod(&policy)).binding,
            Reason::Reserve
        );
    }
}

#[test]
fn memory_without_overcommit_admits_120() {
    let spec = PolicySpec {
        mem_overcommit_ppm: 1_000_000,
        setup_reserve: Resources::ZERO,
        ..PolicySpec::default()
    };
    assert_eq!(admitted(&Policy::new(spec).unwrap()), (120, [60, 30, 30]));
}
