//! What the commercial state machine is made of: states, triggers, causes, terms, and what a state says about itself.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Time;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        $(#[$doc])*
        pub enum $type { $($(#[$vdoc])* $variant),* }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            pub fn parse(name: &str) -> Option<Self> { Self::ALL.iter().copied().find(|it| it.name() == name) }
        }
    };
}

names!(
    #[schema(as = SubscriptionStatus)]
    Status {
    /// Ordered, not paid; its capacity is held for a while.
    Pending = "pending",
    /// Paid. The period runs, or begins when the service is seen ready.
    Active = "active",
    /// The period is over; the service is stopped and its data kept until the grace ends.
    Expired = "expired",
    /// Over for good.
    Cancelled = "cancelled",
    }
);

names!(
    /// Why a subscription was cancelled.
    CancelReason {
        Customer = "customer", PeriodEnd = "period_end", Unpaid = "unpaid", NeverReady = "never_ready",
        GraceOver = "grace_over", Admin = "admin",
    }
);

names!(
    /// What made a transition; the label of events and metrics.
    Cause {
        Paid = "paid",
        FirstReady = "first_ready",
        RenewedAhead = "renewed_ahead",
        NextPeriod = "next_period",
        PeriodOver = "period_over",
        RenewalHeld = "renewal_held",
        RenewalUnpaid = "renewal_unpaid",
        RenewedInGrace = "renewed_in_grace",
        Restarted = "restarted",
        CancelScheduled = "cancel_scheduled",
        CancelUndone = "cancel_undone",
        CancelledByCustomer = "cancelled_by_customer",
        CancelledByAdmin = "cancelled_by_admin",
        CancelledAtPeriodEnd = "cancelled_at_period_end",
        Unpaid = "unpaid",
        NeverReady = "never_ready",
        GraceOver = "grace_over",
    }
);

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub period: Duration,
    /// How long the data of an expired subscription is kept.
    pub grace: Duration,
    /// How long an unpaid order or renewal holds its capacity.
    pub hold: Duration,
    /// Within what time after payment a new service must have become ready.
    pub ready: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: Time,
    pub end: Time,
}

/// The machine's own memory: exactly the columns that a transition may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub status: Status,
    pub cancel_at_period_end: bool,
    /// Until when an unpaid order, or an unpaid renewal in grace, holds its capacity.
    pub hold_expires_at: Option<Time>,
    pub ready_deadline: Option<Time>,
    /// The paid period that runs, or waits for the restart. 0: the first is paid for or not even that, and not begun.
    pub period_no: i32,
    pub period: Option<Period>,
    pub awaiting_restart: bool,
    pub grace_until: Option<Time>,
    pub expired_at: Option<Time>,
    pub cancelled: Option<(Time, CancelReason)>,
}

/// What others know and the machine asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The invoice of the next period is paid.
    pub next_paid: bool,
    /// When the service was first ready.
    pub first_ready_at: Option<Time>,
    /// When it was ready again after a renewal in grace.
    pub restarted_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub state: State,
    pub seen: Seen,
    pub terms: Terms,
    pub now: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Time has passed, or something was seen: whatever is due happens, one step at a time.
    Tick,
    /// The invoice of this period was paid, for the first time.
    Paid {
        period_no: i32,
    },
    /// The engine admitted a renewal in grace; it now holds its capacity until it is paid.
    RenewalHeld,
    CancelNow {
        by_admin: bool,
    },
    CancelAtPeriodEnd,
    UndoCancel,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub state: State,
    pub cause: Cause,
}

/// Why a trigger changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("nothing is due")]
    NothingDue,
    #[error("the subscription is cancelled")]
    Cancelled,
    #[error("the capacity was held too long without a payment and is given back")]
    HoldOver,
    #[error("that period is not the next one")]
    WrongPeriod,
    #[error("there is no running period that could end")]
    NotActive,
    #[error("the data is kept no longer")]
    GraceOver,
    #[error("no cancellation is scheduled")]
    NotScheduled,
}

/// The state of an order that was just accepted.
pub fn ordered(terms: &Terms, now: Time) -> State {
    State {
        status: Status::Pending,
        cancel_at_period_end: false,
        hold_expires_at: Some(now.plus(terms.hold)),
        ready_deadline: None,
        period_no: 0,
        period: None,
        awaiting_restart: false,
        grace_until: None,
        expired_at: None,
        cancelled: None,
    }
}

impl State {
    /// When the clock has something to do with this state: [`Trigger::Tick`] then changes it.
    pub fn next_transition_at(&self) -> Option<Time> {
        match self.status {
            Status::Pending => self.hold_expires_at,
            Status::Active => self.period.map(|period| period.end).or(self.ready_deadline),
            Status::Expired => self.hold_expires_at.or(self.grace_until),
            Status::Cancelled => None,
        }
    }

    /// The last period that has begun: what is paid beyond it was not delivered.
    pub fn begun(&self) -> i32 {
        self.period_no - i32::from(self.awaiting_restart)
    }

    /// The period that a renewal may name now: the one after the current, never further ahead. None when no renewal
    /// is possible: not paid yet, the first period has not begun, about to end by cancellation, or over.
    pub fn renewable(&self) -> Option<i32> {
        let open = match self.status {
            Status::Active => self.period_no > 0 && !self.cancel_at_period_end,
            Status::Expired => true,
            Status::Pending | Status::Cancelled => false,
        };
        open.then_some(self.period_no + 1)
    }
}
