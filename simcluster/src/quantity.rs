//! Amounts of resources as the API writes them: `250m`, `4Gi`, `1.5`, and the one form in which each is stored.

use std::{fmt, str::FromStr};

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

const DECIMAL: [(&str, i128); 10] = [
    ("E", 1_000_000_000_000_000_000 * NANO),
    ("P", 1_000_000_000_000_000 * NANO),
    ("T", 1_000_000_000_000 * NANO),
    ("G", 1_000_000_000 * NANO),
    ("M", 1_000_000 * NANO),
    ("k", 1_000 * NANO),
    ("", NANO),
    ("m", 1_000_000),
    ("u", 1_000),
    ("n", 1),
];

const BINARY: [(&str, i128); 6] = [
    ("Ei", NANO << 60),
    ("Pi", NANO << 50),
    ("Ti", NANO << 40),
    ("Gi", NANO << 30),
    ("Mi", NANO << 20),
    ("Ki", NANO << 10),
];

impl Quantity {
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

impl FromStr for Quantity {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (binary, scale) = scale(suffix).ok_or(Malformed)?;
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || !(whole.len() <= 18 && fraction.len() <= 18) {
            return Err(Malformed);
        }
        let parse = |digits: &str| {
            if digits.is_empty() { Ok(0) } else { digits.parse::<u64>().map(i128::from) }
        };
        let whole = parse(whole).map_err(|_| Malformed)?;
        let part = parse(fraction).map_err(|_| Malformed)?;
        let denominator = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(18));
        let part = part.checked_mul(scale).ok_or(Malformed)?;
        let nanos = whole.checked_mul(scale).ok_or(Malformed)? + div_ceil(part, denominator);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, binary })
    }
}

fn scale(suffix: &str) -> Option<(bool, i128)> {
    if let Some((_, scale)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((true, *scale));
    }
    if let Some((_, scale)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((false, *scale));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|e| (-9..=18).contains(e))?;
    let power = 10_i128.pow(exponent.unsigned_abs());
    Some((false, if exponent < 0 { NANO / power } else { NANO * power }))
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |scale: i128| self.nanos % scale == 0;
        let binary = BINARY.iter().find(|(_, scale)| self.binary && fits(*scale) && self.nanos != 0);
        let small = self.binary && self.is_whole() && self.nanos.abs() < 1024 * NANO;
        let chosen = match binary {
            Some(found) => *found,
            None if self.nanos == 0 || small || (self.binary && self.is_whole()) => ("", NANO),
            None => *DECIMAL.iter().find(|(_, scale)| fits(*scale)).unwrap_or(&("n", 1)),
        };
        write!(f, "{}{}", self.nanos / chosen.1, chosen.0)
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
    fn canonical_forms() {
        for (sent, stored) in [
            ("0.250", "250m"),
            ("2000m", "2"),
            ("4096Mi", "4Gi"),
            ("1.5Gi", "1536Mi"),
            ("512Mi", "512Mi"),
            ("0", "0"),
            ("0Gi", "0"),
            ("1000", "1k"),
            ("10", "10"),
            ("1e3", "1k"),
            ("100M", "100M"),
            ("0.5Ki", "512"),
            ("1u", "1u"),
            ("-5", "-5"),
        ] {
            assert_eq!(canonical(sent), stored, "{sent}");
        }
    }

    #[test]
    fn malformed_amounts_are_refused() {
        for text in ["", "abc", "1Zi", "1.2.3", "Gi", "--1", "1e99"] {
            assert_eq!(text.parse::<Quantity>(), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn sums_and_order() {
        let q = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(q("100m").plus(q("0.9")).to_string(), "1");
        assert_eq!(q("0").plus(q("64Mi")).to_string(), "64Mi");
        assert_eq!(q("1Gi").minus(q("1Mi")).to_string(), "1023Mi");
        assert!(q("1Gi") > q("1G"));
        assert_eq!((q("1.5m").milli(), q("1.5").units()), (2, 2));
    }
}
