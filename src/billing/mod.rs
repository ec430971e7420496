//! Invoices and the movements of money against them.
//!
//! An invoice is bought once: `open` until it is `paid`, or `void` when what it was for is no longer to be had. Money
//! that came for something that cannot be given is `credited`: a payment always has a counterpart, either a service
//! or a credit. A transaction is one payment at one gateway, or one credit; its status only climbs, so that a late or
//! repeated message from a gateway changes nothing. What a payment *grants* is not decided here: [`mark_paid`] tells
//! its caller, once, and the caller acts in the same transaction.

pub mod attempt;
pub mod book;
pub mod gateway;
pub mod http;
pub mod read;
pub mod store;

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Time;

pub use store::{begin_period, credit, credit_undelivered, mark_paid, open_invoice, pay, void};

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$vdoc])* $variant),* }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            pub fn parse(name: &str) -> Option<Self> { Self::ALL.iter().copied().find(|it| it.name() == name) }
        }
    };
}

names!(InvoiceStatus {
    /// To be paid.
    Open = "open",
    /// Paid, and its period granted.
    Paid = "paid",
    /// Never paid, and no longer to be.
    Void = "void",
    /// Paid for something that was not given: the amount stands to the customer's credit.
    Credited = "credited",
});

names!(TransactionStatus {
    /// Not yet told to the gateway.
    Created = "created",
    /// The gateway waits for the customer.
    Pending = "pending",
    Failed = "failed",
    /// Its invoice is void; money that still arrives is credited.
    Expired = "expired",
    Paid = "paid",
});

names!(TransactionKind {
    Payment = "payment",
    Credit = "credit",
});

impl TransactionStatus {
    /// A status is only left for a higher one: a payment that arrived is a fact, whatever is said later or again.
    pub fn rank(self) -> u8 {
        match self {
            Self::Created => 0,
            Self::Pending => 1,
            Self::Failed | Self::Expired => 2,
            Self::Paid => 3,
        }
    }

    pub fn may_become(self, next: Self) -> bool {
        next.rank() > self.rank()
    }

    /// The names of every status that `next` may follow: what a compare-and-swap lists.
    pub fn before(next: Self) -> Vec<String> {
        let before = Self::ALL.iter().filter(|status| status.may_become(next));
        before.map(|status| status.name().to_owned()).collect()
    }
}

/// What was bought, and whether it is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Invoice {
    pub id: Uuid,
    /// Counts up over all invoices.
    pub number: i64,
    #[serde(skip)]
    pub user_id: Uuid,
    pub subscription_id: Uuid,
    /// Which period of the subscription it buys, from 1.
    pub period_no: i32,
    pub description: String,
    /// Whole rupiah.
    #[schema(minimum = 0)]
    pub amount_idr: i64,
    pub status: InvoiceStatus,
    pub due_at: Time,
    pub paid_at: Option<Time>,
    /// When it was paid, voided or credited.
    pub closed_at: Option<Time>,
    /// Of the period, once that has begun.
    pub period_start: Option<Time>,
    pub period_end: Option<Time>,
    pub created_at: Time,
}

/// One payment at one gateway, or one credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Transaction {
    pub id: Uuid,
    pub invoice_id: Uuid,
    #[serde(skip)]
    pub user_id: Uuid,
    pub kind: TransactionKind,
    pub gateway: String,
    /// What the payment is called at the gateway; for a bank transfer, what to write into it.
    pub reference: String,
    /// Whole rupiah.
    #[schema(minimum = 0)]
    pub amount_idr: i64,
    pub status: TransactionStatus,
    /// Where the customer pays, when the gateway has such a place.
    pub payment_url: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// How an invoice is being paid, as the buyer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Payment {
    pub transaction_id: Uuid,
    pub status: TransactionStatus,
    /// Whole rupiah.
    #[schema(minimum = 0)]
    pub amount_idr: i64,
    pub gateway: String,
    pub reference: String,
    /// Where the customer pays, once the gateway has such a place.
    pub url: Option<String>,
    /// In words, what the customer has to do; null when nothing.
    pub instructions: Option<String>,
}

/// What is to be invoiced.
#[derive(Clone, Debug)]
pub struct NewInvoice {
    pub user_id: Uuid,
    pub subscription_id: Uuid,
    pub period_no: i32,
    pub description: String,
    pub amount_idr: i64,
    pub due_at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever order and however often a gateway says things, one sequence of messages gives one end: the highest.
    #[test]
    fn every_order_and_repetition_of_messages_ends_alike() {
        use TransactionStatus as S;
        let end = |messages: &[S]| {
            let mut grants = 0;
            let end = messages.iter().fold(S::Created, |now, next| {
                if now.may_become(*next) {
                    grants += u32::from(*next == S::Paid);
                    *next
                } else {
                    now
                }
            });
            (end, grants)
        };
        let messages = [S::Pending, S::Expired, S::Paid, S::Pending, S::Paid];
        let mut orders = vec![vec![]];
        for message in messages {
            orders = orders
                .into_iter()
                .flat_map(|order: Vec<S>| {
                    (0..=order.len()).map(move |at| {
                        let mut order = order.clone();
                        order.insert(at, message);
                        order
                    })
                })
                .collect();
        }
        assert_eq!(orders.len(), 120);
        for order in orders {
            assert_eq!(end(&order), (S::Paid, 1), "{order:?}");
        }
        assert_eq!(end(&[S::Pending, S::Failed, S::Pending]), (S::Failed, 0));
        assert_eq!(S::before(S::Paid), ["created", "pending", "failed", "expired"]);
        assert_eq!(S::before(S::Pending), ["created"]);
    }
}
