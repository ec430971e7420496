//! Payment gateways: where money comes from.
//!
//! A gateway is called after commit, from a leased row, and may be called again for the same payment: `reference` is
//! its dedupe. It says how far the payment is; what follows from that is decided elsewhere.

use futures::future::BoxFuture;
use uuid::Uuid;

/// What a gateway is told.
#[derive(Clone, Debug)]
pub struct Order {
    pub transaction_id: Uuid,
    pub reference: String,
    pub amount_idr: i64,
    pub description: String,
}

/// How far the payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The customer has to act; `url` is where, if anywhere.
    Pending {
        url: Option<String>,
    },
    Paid,
    /// For good.
    Failed,
}

#[derive(Debug, thiserror::Error)]
#[error("gateway {gateway} did not answer: {reason}")]
pub struct Unavailable {
    pub gateway: &'static str,
    pub reason: String,
}

pub trait PaymentGateway: Send + Sync {
    fn name(&self) -> &'static str;

    /// How the payment of invoice `number` is called at this gateway.
    fn reference(&self, number: i64) -> String;

    /// A payment that needs nobody and nothing outside: it is settled in the transaction that asks for it.
    fn settles_at_once(&self, amount_idr: i64) -> bool;

    /// In words, what the customer has to do.
    fn instructions(&self, reference: &str, amount_idr: i64) -> Option<String>;

    /// Starts the payment, or finds it started.
    fn start<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, Unavailable>>;
}

/// Settles Rp 0, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Internal;

impl PaymentGateway for Internal {
    fn name(&self) -> &'static str {
        "internal"
    }

    fn reference(&self, number: i64) -> String {
        format!("invoice-{number}")
    }

    fn settles_at_once(&self, amount_idr: i64) -> bool {
        amount_idr == 0
    }

    fn instructions(&self, _: &str, _: i64) -> Option<String> {
        None
    }

    fn start<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, Unavailable>> {
        let outcome = if self.settles_at_once(order.amount_idr) {
            Outcome::Paid
        } else {
            Outcome::Failed
        };
        Box::pin(async move { Ok(outcome) })
    }
}

/// Bank transfer: the customer sends the money with the reference, and the operator confirms having seen it.
#[derive(Clone, Debug)]
pub struct Manual {
    /// The account to pay to, as the customer shall read it.
    pub account: String,
}

impl PaymentGateway for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    fn reference(&self, number: i64) -> String {
        format!("LMB-{number:06}")
    }

    fn settles_at_once(&self, _: i64) -> bool {
        false
    }

    fn instructions(&self, reference: &str, amount_idr: i64) -> Option<String> {
        let amount = rupiah(amount_idr);
        Some(format!(
            "Transfer {amount} to {} and write {reference} as the message.",
            self.account
        ))
    }

    fn start<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Outcome, Unavailable>> {
        Box::pin(async { Ok(Outcome::Pending { url: None }) })
    }
}

/// The gateways in use: nothing to pay goes to the internal one, everything else to the other.
pub struct Gateways {
    zero: Box<dyn PaymentGateway>,
    money: Box<dyn PaymentGateway>,
}

impl Gateways {
    pub fn new(money: impl PaymentGateway + 'static) -> Self {
        Self {
            zero: Box::new(Internal),
            money: Box::new(money),
        }
    }

    pub fn for_amount(&self, amount_idr: i64) -> &dyn PaymentGateway {
        if amount_idr == 0 { &*self.zero } else { &*self.money }
    }

    /// None when a row names a gateway that this server does not have.
    pub fn named(&self, name: &str) -> Option<&dyn PaymentGateway> {
        [&*self.zero, &*self.money]
            .into_iter()
            .find(|gateway| gateway.name() == name)
    }
}

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateways({}, {})", self.zero.name(), self.money.name())
    }
}

/// `Rp 1.250.000`, as it is written in Indonesia.
pub fn rupiah(amount_idr: i64) -> String {
    let digits = amount_idr.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    format!("{}Rp {text}", if amount_idr < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rupiah_are_grouped_by_thousands() {
        for (amount, text) in [
            (0, "Rp 0"),
            (999, "Rp 999"),
            (1000, "Rp 1.000"),
            (1_250_000, "Rp 1.250.000"),
            (-5000, "-Rp 5.000"),
        ] {
            assert_eq!(rupiah(amount), text);
        }
    }

    #[tokio::test]
    async fn the_internal_gateway_gives_nothing_away() {
        let gateways = Gateways::new(Manual {
            account: "Bank Lumbung 123".into(),
        });
        assert_eq!(gateways.for_amount(0).name(), "internal");
        assert_eq!(gateways.for_amount(1).name(), "manual");
        let order = |amount_idr| Order {
            transaction_id: Uuid::nil(),
            reference: "x".into(),
            amount_idr,
            description: String::new(),
        };
        let internal = gateways.named("internal").unwrap();
        assert_eq!(internal.start(&order(0)).await.unwrap(), Outcome::Paid);
        assert_eq!(internal.start(&order(1)).await.unwrap(), Outcome::Failed);
        let manual = gateways.named("manual").unwrap();
        assert!(!manual.settles_at_once(0));
        assert_eq!(
            manual.start(&order(5000)).await.unwrap(),
            Outcome::Pending { url: None }
        );
        let told = manual.instructions("LMB-000007", 5000).unwrap();
        assert_eq!(
            told,
            "Transfer Rp 5.000 to Bank Lumbung 123 and write LMB-000007 as the message."
        );
        assert!(gateways.named("other").is_none());
    }
}
