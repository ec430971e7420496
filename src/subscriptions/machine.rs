//! The commercial state machine, pure: facts and a trigger in, the next state and its cause out.
//!
//! ```text
//! pending ──paid──▶ active ──period over──▶ expired ──grace over──▶ cancelled
//!    │               │  ▲                     │
//!    └─unpaid        │  └──── renewed ────────┘
//!                    └─never ready, cancelled now or at the period's end
//! ```
//!
//! Active is what has been paid for; its period begins later, when the service is seen ready. Nothing here knows of
//! rows, money or pods: [`super::change`] carries a change out.

use super::state::{CancelReason, Cause, Change, Facts, Period, Refusal, State, Status, Terms, Trigger};
use crate::clock::Time;

pub fn transition(facts: &Facts, trigger: Trigger) -> Result<Change, Refusal> {
    if facts.state.status == Status::Cancelled {
        return Err(Refusal::Cancelled);
    }
    match trigger {
        Trigger::Tick => tick(facts),
        Trigger::Paid { period_no } => paid(facts, period_no),
        Trigger::RenewalHeld => renewal_held(facts),
        Trigger::CancelNow { by_admin: false } => {
            Ok(cancelled(facts, CancelReason::Customer, Cause::CancelledByCustomer))
        }
        Trigger::CancelNow { by_admin: true } => Ok(cancelled(facts, CancelReason::Admin, Cause::CancelledByAdmin)),
        Trigger::CancelAtPeriodEnd => schedule(facts, true, Cause::CancelScheduled),
        Trigger::UndoCancel => schedule(facts, false, Cause::CancelUndone),
    }
}

fn tick(facts: &Facts) -> Result<Change, Refusal> {
    let state = &facts.state;
    let due = |at: Option<Time>| at.is_some_and(|at| at <= facts.now);
    match state.status {
        Status::Pending if due(state.hold_expires_at) => Ok(cancelled(facts, CancelReason::Unpaid, Cause::Unpaid)),
        Status::Active => match state.period {
            Some(period) if period.end <= facts.now => Ok(period_over(facts, period)),
            Some(_) => Err(Refusal::NothingDue),
            None => not_begun(facts),
        },
        Status::Expired if due(state.hold_expires_at) => {
            let state = State {
                hold_expires_at: None,
                ..state.clone()
            };
            Ok(change(state, Cause::RenewalUnpaid))
        }
        Status::Expired if state.hold_expires_at.is_none() && !facts.seen.next_paid && due(state.grace_until) => {
            Ok(cancelled(facts, CancelReason::GraceOver, Cause::GraceOver))
        }
        Status::Pending | Status::Expired => Err(Refusal::NothingDue),
        Status::Cancelled => Err(Refusal::Cancelled),
    }
}

/// Paid, and waiting to be seen ready. Readiness wins over a deadline that has passed meanwhile.
fn not_begun(facts: &Facts) -> Result<Change, Refusal> {
    let state = &facts.state;
    let (ready_at, cause) = if state.awaiting_restart {
        (facts.seen.restarted_at, Cause::Restarted)
    } else {
        (facts.seen.first_ready_at, Cause::FirstReady)
    };
    if let Some(start) = ready_at {
        let state = State {
            period_no: state.begun() + 1,
            period: Some(period(start, &facts.terms)),
            awaiting_restart: false,
            ready_deadline: None,
            ..state.clone()
        };
        return Ok(change(state, cause));
    }
    if !state.awaiting_restart && state.ready_deadline.is_some_and(|deadline| deadline <= facts.now) {
        return Ok(cancelled(facts, CancelReason::NeverReady, Cause::NeverReady));
    }
    Err(Refusal::NothingDue)
}

fn period_over(facts: &Facts, over: Period) -> Change {
    let state = &facts.state;
    if state.cancel_at_period_end {
        return cancelled(facts, CancelReason::PeriodEnd, Cause::CancelledAtPeriodEnd);
    }
    if facts.seen.next_paid {
        let state = State {
            period_no: state.period_no + 1,
            period: Some(period(over.end, &facts.terms)),
            ..state.clone()
        };
        return change(state, Cause::NextPeriod);
    }
    let state = State {
        status: Status::Expired,
        // Counted from when the service is really stopped: a server that was down must not eat the customer's grace.
        grace_until: Some(facts.now.plus(facts.terms.grace)),
        expired_at: Some(facts.now),
        hold_expires_at: None,
        ..state.clone()
    };
    change(state, Cause::PeriodOver)
}

fn paid(facts: &Facts, period_no: i32) -> Result<Change, Refusal> {
    let state = &facts.state;
    if period_no != state.period_no + 1 {
        return Err(Refusal::WrongPeriod);
    }
    let held = state.hold_expires_at.is_some_and(|until| facts.now < until);
    match state.status {
        Status::Pending if held => {
            let state = State {
                status: Status::Active,
                hold_expires_at: None,
                ready_deadline: Some(facts.now.plus(facts.terms.ready)),
                ..state.clone()
            };
            Ok(change(state, Cause::Paid))
        }
        Status::Expired if held => {
            let state = State {
                status: Status::Active,
                hold_expires_at: None,
                period_no,
                period: None,
                awaiting_restart: true,
                grace_until: None,
                expired_at: None,
                ..state.clone()
            };
            Ok(change(state, Cause::RenewedInGrace))
        }
        Status::Pending | Status::Expired => Err(Refusal::HoldOver),
        Status::Active if state.period_no == 0 => Err(Refusal::WrongPeriod),
        Status::Active => Ok(change(state.clone(), Cause::RenewedAhead)),
        Status::Cancelled => Err(Refusal::Cancelled),
    }
}

fn renewal_held(facts: &Facts) -> Result<Change, Refusal> {
    let state = &facts.state;
    if state.status != Status::Expired {
        return Err(Refusal::WrongPeriod);
    }
    // A hold outlives the grace by at most its own length; without one, what is over stays over.
    if state.hold_expires_at.is_none() && state.grace_until.is_none_or(|until| until <= facts.now) {
        return Err(Refusal::GraceOver);
    }
    let state = State {
        hold_expires_at: Some(facts.now.plus(facts.terms.hold)),
        ..state.clone()
    };
    Ok(change(state, Cause::RenewalHeld))
}

fn schedule(facts: &Facts, cancel: bool, cause: Cause) -> Result<Change, Refusal> {
    if facts.state.status != Status::Active {
        return Err(Refusal::NotActive);
    }
    if !cancel && !facts.state.cancel_at_period_end {
        return Err(Refusal::NotScheduled);
    }
    let state = State {
        cancel_at_period_end: cancel,
        ..facts.state.clone()
    };
    Ok(change(state, cause))
}

fn cancelled(facts: &Facts, reason: CancelReason, cause: Cause) -> Change {
    let state = State {
        status: Status::Cancelled,
        cancelled: Some((facts.now, reason)),
        hold_expires_at: None,
        ready_deadline: None,
        ..facts.state.clone()
    };
    change(state, cause)
}

fn change(state: State, cause: Cause) -> Change {
    Change { state, cause }
}

fn period(start: Time, terms: &Terms) -> Period {
    Period {
        start,
        end: start.plus(terms.period),
    }
}

#[cfg(test)]
#[path = "machine_histories.rs"]
mod histories;
#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
