//! Random histories of one subscription: the rules that hold whatever happens in whatever order.

use std::collections::BTreeSet;
use std::time::Duration;

use super::tests::{TERMS, day, pending};
use super::*;
use crate::clock::Entropy;
use crate::subscriptions::state::Seen;

/// Random triggers over random time. Held at every step: what is due happens; the number of a period never falls and
/// never skips; a period begins only once paid, and never while another runs; cancelled is the end.
#[test]
fn random_histories_keep_the_rules() {
    let mut reached = BTreeSet::new();
    for seed in 0..400 {
        let entropy = Entropy::seeded(seed);
        let mut now = day(0);
        let mut state = pending();
        let mut paid_up_to = 0;
        let mut begun: Vec<(i32, Period)> = Vec::new();
        for _ in 0..60 {
            let minutes = if entropy.below(4) == 0 {
                12 * 24 * 60
            } else {
                entropy.below(3) * 15
            };
            now = now.plus(Duration::from_mins(minutes.into()));
            let ready = entropy.below(2) == 0;
            let seen = Seen {
                next_paid: state.status == Status::Active && paid_up_to > state.period_no,
                first_ready_at: ready.then_some(now),
                restarted_at: ready.then_some(now),
            };
            let trigger = match entropy.below(30) {
                0..14 => Trigger::Tick,
                14..20 => Trigger::Paid {
                    period_no: state.period_no + i32::from(entropy.below(4) > 0),
                },
                20..26 => Trigger::RenewalHeld,
                26 => Trigger::CancelAtPeriodEnd,
                27..29 => Trigger::UndoCancel,
                _ => Trigger::CancelNow {
                    by_admin: entropy.below(2) == 0,
                },
            };
            let facts = Facts {
                state: state.clone(),
                seen,
                terms: TERMS,
                now,
            };
            let result = transition(&facts, trigger);
            if trigger == Trigger::Tick && state.next_transition_at().is_some_and(|at| at <= now) {
                assert!(result.is_ok(), "seed {seed}: {state:?} is due and stays");
            }
            let Ok(Change { state: after, cause }) = result else {
                continue;
            };
            reached.insert(cause.name());
            assert_ne!(
                state.status,
                Status::Cancelled,
                "seed {seed}: something follows the end"
            );
            assert!(
                (0..=1).contains(&(after.period_no - state.period_no)),
                "seed {seed}: {cause:?}"
            );
            if let Trigger::Paid { period_no } = trigger {
                paid_up_to = paid_up_to.max(period_no);
                if cause == Cause::RenewedAhead && facts.seen.next_paid {
                    // The one invoice per period makes this a no-op in the database; here it must only change nothing.
                    assert_eq!(after, state);
                }
            }
            if let Some(period) = after.period.filter(|_| state.period != after.period) {
                assert!(
                    after.period_no <= paid_up_to,
                    "seed {seed}: period {} unpaid",
                    after.period_no
                );
                if let Some((number, last)) = begun.last() {
                    assert_eq!(after.period_no, number + 1, "seed {seed}");
                    assert!(
                        period.start >= last.end || state.period.is_none(),
                        "seed {seed}: two periods at once"
                    );
                }
                begun.push((after.period_no, period));
            }
            state = after;
        }
    }
    let all: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(reached, all, "the histories come by every transition");
}
