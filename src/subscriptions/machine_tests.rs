//! The machine as tables, and over random histories.

use std::time::Duration;

use super::*;
use crate::subscriptions::state::{Seen, ordered};

const DAY: Duration = Duration::from_hours(24);
pub(super) const TERMS: Terms = Terms {
    period: Duration::from_hours(720),
    grace: Duration::from_hours(720),
    hold: Duration::from_mins(30),
    ready: Duration::from_mins(30),
};

pub(super) fn day(n: u32) -> Time {
    Time::new("2026-01-01T00:00:00Z".parse().unwrap()).plus(DAY * n)
}

fn facts(state: State, now: Time) -> Facts {
    Facts {
        state,
        seen: Seen::default(),
        terms: TERMS,
        now,
    }
}

pub(super) fn pending() -> State {
    ordered(&TERMS, day(0))
}

/// Paid on day 0, not begun.
fn paid_for() -> State {
    transition(&facts(pending(), day(0)), Trigger::Paid { period_no: 1 })
        .unwrap()
        .state
}

/// First ready on day 0: the period ends on day 30.
fn running() -> State {
    let seen = Seen {
        first_ready_at: Some(day(0)),
        ..Seen::default()
    };
    let facts = Facts {
        seen,
        ..facts(paid_for(), day(0))
    };
    transition(&facts, Trigger::Tick).unwrap().state
}

/// Expired on day 30: the grace ends on day 60.
fn expired() -> State {
    transition(&facts(running(), day(30)), Trigger::Tick).unwrap().state
}

fn held() -> State {
    transition(&facts(expired(), day(40)), Trigger::RenewalHeld)
        .unwrap()
        .state
}

/// Renewed in grace on day 40.
fn restarting() -> State {
    transition(&facts(held(), day(40)), Trigger::Paid { period_no: 2 })
        .unwrap()
        .state
}

fn ending() -> State {
    transition(&facts(running(), day(10)), Trigger::CancelAtPeriodEnd)
        .unwrap()
        .state
}

fn gone() -> State {
    transition(&facts(running(), day(10)), Trigger::CancelNow { by_admin: false })
        .unwrap()
        .state
}

const PAID: Seen = Seen {
    next_paid: true,
    first_ready_at: None,
    restarted_at: None,
};

/// What it shows, the state, what is seen, the day, the trigger, and what must come of it.
type Case = (
    &'static str,
    State,
    Seen,
    u32,
    Trigger,
    Result<(Status, Cause), Refusal>,
);

#[test]
fn every_trigger_in_every_state_does_what_the_design_says() {
    use Cause as C;
    use Refusal as R;
    use Status::{Active, Cancelled, Expired};
    use Trigger::{CancelAtPeriodEnd, CancelNow, Paid, RenewalHeld, Tick, UndoCancel};
    let none = Seen::default();
    let ready = Seen {
        first_ready_at: Some(day(0)),
        ..none
    };
    let back = Seen {
        restarted_at: Some(day(41)),
        ..none
    };
    let now = CancelNow { by_admin: false };
    let by_admin = CancelNow { by_admin: true };
    #[rustfmt::skip]
    let table: &[Case] = &[
        ("hold over", pending(), none, 1, Tick, Ok((Cancelled, C::Unpaid))),
        ("hold runs", pending(), none, 0, Tick, Err(R::NothingDue)),
        ("paid", pending(), none, 0, Paid { period_no: 1 }, Ok((Active, C::Paid))),
        ("paid too late", pending(), none, 1, Paid { period_no: 1 }, Err(R::HoldOver)),
        ("paid the wrong period", pending(), none, 0, Paid { period_no: 2 }, Err(R::WrongPeriod)),
        ("order taken back", pending(), none, 0, now, Ok((Cancelled, C::CancelledByCustomer))),
        ("no end to wait for", pending(), none, 0, CancelAtPeriodEnd, Err(R::NotActive)),
        ("no grace to renew in", pending(), none, 0, RenewalHeld, Err(R::WrongPeriod)),
        ("first ready", paid_for(), ready, 0, Tick, Ok((Active, C::FirstReady))),
        ("ready, seen late", paid_for(), ready, 2, Tick, Ok((Active, C::FirstReady))),
        ("not ready yet", paid_for(), none, 0, Tick, Err(R::NothingDue)),
        ("never ready", paid_for(), none, 1, Tick, Ok((Cancelled, C::NeverReady))),
        ("first not begun", paid_for(), none, 0, Paid { period_no: 2 }, Err(R::WrongPeriod)),
        ("first paid twice", paid_for(), none, 0, Paid { period_no: 1 }, Err(R::WrongPeriod)),
        ("period runs", running(), none, 29, Tick, Err(R::NothingDue)),
        ("period over", running(), none, 30, Tick, Ok((Expired, C::PeriodOver))),
        ("next is paid", running(), PAID, 30, Tick, Ok((Active, C::NextPeriod))),
        ("renewed ahead", running(), none, 5, Paid { period_no: 2 }, Ok((Active, C::RenewedAhead))),
        ("too far ahead", running(), none, 5, Paid { period_no: 3 }, Err(R::WrongPeriod)),
        ("cancelled", running(), none, 5, now, Ok((Cancelled, C::CancelledByCustomer))),
        ("by an admin", running(), none, 5, by_admin, Ok((Cancelled, C::CancelledByAdmin))),
        ("scheduled", running(), none, 5, CancelAtPeriodEnd, Ok((Active, C::CancelScheduled))),
        ("nothing to undo", running(), none, 5, UndoCancel, Err(R::NotScheduled)),
        ("undone", ending(), none, 11, UndoCancel, Ok((Active, C::CancelUndone))),
        ("end comes", ending(), none, 30, Tick, Ok((Cancelled, C::CancelledAtPeriodEnd))),
        ("end beats queue", ending(), PAID, 30, Tick, Ok((Cancelled, C::CancelledAtPeriodEnd))),
        ("grace runs", expired(), none, 59, Tick, Err(R::NothingDue)),
        ("grace over", expired(), none, 60, Tick, Ok((Cancelled, C::GraceOver))),
        ("last re-check", expired(), PAID, 60, Tick, Err(R::NothingDue)),
        ("admitted", expired(), none, 40, RenewalHeld, Ok((Expired, C::RenewalHeld))),
        ("after grace", expired(), none, 60, RenewalHeld, Err(R::GraceOver)),
        ("not admitted", expired(), none, 40, Paid { period_no: 2 }, Err(R::HoldOver)),
        ("expired, cancelled", expired(), none, 40, now, Ok((Cancelled, C::CancelledByCustomer))),
        ("expired, no end", expired(), none, 40, CancelAtPeriodEnd, Err(R::NotActive)),
        ("renewal paid", held(), none, 40, Paid { period_no: 2 }, Ok((Active, C::RenewedInGrace))),
        ("renewal unpaid", held(), none, 41, Tick, Ok((Expired, C::RenewalUnpaid))),
        ("paid after hold", held(), none, 41, Paid { period_no: 2 }, Err(R::HoldOver)),
        ("hold before purge", held(), none, 61, Tick, Ok((Expired, C::RenewalUnpaid))),
        ("restarted", restarting(), back, 41, Tick, Ok((Active, C::Restarted))),
        ("old readiness", restarting(), ready, 41, Tick, Err(R::NothingDue)),
        ("no deadline", restarting(), none, 400, Tick, Err(R::NothingDue)),
        ("ahead of restart", restarting(), none, 40, Paid { period_no: 3 }, Ok((Active, C::RenewedAhead))),
    ];
    for (name, state, seen, at, trigger, want) in table {
        let facts = Facts {
            seen: *seen,
            ..facts(state.clone(), day(*at))
        };
        let got = transition(&facts, *trigger).map(|change| (change.state.status, change.cause));
        assert_eq!(got, *want, "{name}");
    }
    for trigger in [
        Tick,
        Paid { period_no: 2 },
        RenewalHeld,
        now,
        by_admin,
        CancelAtPeriodEnd,
        UndoCancel,
    ] {
        let facts = facts(gone(), day(100));
        assert_eq!(transition(&facts, trigger), Err(R::Cancelled), "{trigger:?}");
    }
}

#[test]
fn periods_are_anchored_where_the_design_says() {
    assert_eq!(
        running().period,
        Some(Period {
            start: day(0),
            end: day(30)
        })
    );
    let queued = Facts {
        seen: PAID,
        ..facts(running(), day(33))
    };
    let next = transition(&queued, Trigger::Tick).unwrap().state;
    assert_eq!(
        next.period,
        Some(Period {
            start: day(30),
            end: day(60)
        }),
        "contiguous"
    );
    assert_eq!(next.period_no, 2);
    assert_eq!(restarting().period, None, "waits for the restart");
    let seen = Seen {
        restarted_at: Some(day(42)),
        ..Seen::default()
    };
    let back = Facts {
        seen,
        ..facts(restarting(), day(43))
    };
    let back = transition(&back, Trigger::Tick).unwrap().state;
    assert_eq!(
        back.period,
        Some(Period {
            start: day(42),
            end: day(72)
        }),
        "a new anchor"
    );
    assert_eq!((back.period_no, back.awaiting_restart), (2, false));
    let late = transition(&facts(running(), day(50)), Trigger::Tick).unwrap().state;
    assert_eq!(
        late.grace_until,
        Some(day(80)),
        "the grace begins when the service is stopped"
    );
}

#[test]
fn a_renewal_is_offered_for_the_next_period_only_while_it_can_be_had() {
    let offers = [
        pending(),
        paid_for(),
        running(),
        ending(),
        expired(),
        restarting(),
        gone(),
    ];
    let offers: Vec<_> = offers.iter().map(State::renewable).collect();
    assert_eq!(offers, [None, None, Some(2), None, Some(2), Some(3), None]);
    let begun = [pending(), paid_for(), running(), restarting()].map(|state| state.begun());
    assert_eq!(begun, [0, 0, 1, 1]);
}
