//! Amounts of resources as the API writes them: `250m`, `4Gi`, `1.5`, and the one form in which each is stored.

use std::{fmt, str::FromStr};

use serde_json::Value;

const NANO: i128 = 1_000_000_000;

/// An amount, exact to the nano.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Quantity {
    nanos: i128,
    /// Whether it is written with binary suffixes.
    binary: bool,
}

/// The text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct Malformed;

/// A thousand of each is one of the next.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// 1024 of each is one of the next.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The suffixes with what they stand for, from the smallest.
fn suffixes(binary: bool) -> impl DoubleEndedIterator<Item = (&'static str, i128)> {
    let (names, first, step): (&[_], i128, i128) = if binary { (&BINARY, NANO, 1024) } else { (&DECIMAL, 1, 1000) };
    (0u32..).zip(names).map(move |(at, name)| (*name, first * step.pow(at))).collect::<Vec<_>>().into_iter()
}

impl Quantity {
    /// What a field says, if it is an amount.
    pub fn of(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    pub fn whole(units: i128) -> Self {
        Self { nanos: units * NANO, binary: false }
    }

    /// In thousandths, rounded up.
    pub fn milli(self) -> i128 {
        div_ceil(self.nanos, NANO / 1_000)
    }

    /// In units, rounded up.
    pub fn units(self) -> i128 {
        div_ceil(self.nanos, NANO)
    }

    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The sum, written like the first that is not zero.
    pub fn plus(self, other: Self) -> Self {
        let binary = if self.is_zero() { other.binary } else { self.binary };
        Self { nanos: self.nanos + other.nanos, binary }
    }

    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, binary: other.binary })
    }
}

fn div_ceil(number: i128, by: i128) -> i128 {
    number.div_euclid(by) + i128::from(number.rem_euclid(by) != 0)
}

fn scale(suffix: &str) -> Option<(bool, i128)> {
    let known = |binary| suffixes(binary).find(|(name, _)| *name == suffix).map(|(_, scale)| (binary, scale));
    known(false).or_else(|| known(true))
}

impl FromStr for Quantity {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (binary, scale) = scale(suffix).ok_or(Malformed)?;
        let sign = if number.starts_with('-') { -1 } else { 1 };
        let number = number.strip_prefix(['-', '+']).unwrap_or(number);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || whole.len().max(fraction.len()) > 18 || !all.bytes().all(|c| c.is_ascii_digit()) {
            return Err(Malformed);
        }
        let scaled = all.parse::<i128>().ok().and_then(|all| all.checked_mul(scale)).ok_or(Malformed)?;
        let denominator = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(18));
        Ok(Self { nanos: sign * div_ceil(scaled, denominator), binary })
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = self.binary && self.is_whole();
        let fitting = suffixes(binary).rev().find(|(_, scale)| self.nanos % scale == 0);
        let (suffix, scale) = fitting.filter(|_| !self.is_zero()).unwrap_or(("", NANO));
        write!(f, "{}{suffix}", self.nanos / scale)
    }
}

/// The stored form of an amount; what is no amount is left as it is.
pub fn canonical(text: &str) -> String {
    text.parse::<Quantity>().map_or_else(|_| text.to_owned(), |quantity| quantity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_sums() {
        let sent = "0.250 2000m 4096Mi 1.5Gi 512Mi 0 0Gi 1000 10 100M 0.5Ki 1u -5 .5";
        let stored = "250m 2 4Gi 1536Mi 512Mi 0 0 1k 10 100M 512 1u -5 500m";
        assert_eq!(sent.split(' ').map(canonical).collect::<Vec<_>>().join(" "), stored);
        for text in ["", "abc", "1Zi", "1.2.3", "Gi", "--1", "1e99", "."] {
            assert_eq!(text.parse::<Quantity>(), Err(Malformed), "{text}");
        }
        let q = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(
            (q("0").plus(q("64Mi")).to_string(), q("1Gi").minus(q("1Mi")).to_string()),
            ("64Mi".into(), "1023Mi".into())
        );
        assert_eq!((q("1.5m").milli(), q("1.5").units(), q("1Gi") > q("1G")), (2, 2, true));
    }
}
