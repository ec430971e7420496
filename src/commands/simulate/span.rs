//! Stretches of simulated time, as a scenario writes them ("30d", "1d12h", "15m") and as a report shows them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// Ten years: beyond it nobody means what they wrote, and sums of seconds stay far from overflow.
const LONGEST: i64 = 10 * 365 * 86_400;

/// Whole seconds, from 0 to ten years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

impl Span {
    pub const DAY: Self = Self(86_400);
    pub const FIVE_MINUTES: Self = Self(300);

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut seconds = 0_i64;
        let mut largest = i64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let unit = rest[digits..].chars().next()?;
            let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
            let count: i64 = rest[..digits].parse().ok()?;
            seconds = seconds.checked_add(count.checked_mul(scale)?)?;
            if scale >= largest {
                return None;
            }
            largest = scale;
            rest = &rest[digits + 1..];
        }
        (!text.is_empty() && seconds <= LONGEST).then_some(Self(seconds))
    }
}

/// The two largest units that say something: "3d 4h".
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut written = 0;
        for (unit, scale) in UNITS {
            let count = rest / scale;
            rest %= scale;
            if count > 0 && written < 2 {
                let separator = if written > 0 { " " } else { "" };
                write!(f, "{separator}{count}{unit}")?;
                written += 1;
            } else if written > 0 {
                break;
            }
        }
        if written == 0 { f.write_str("0h") } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is not a time of at most ten years, such as 30d, 1d12h, 15m or 45s"
            ))
        })
    }
}

/// Seconds: a report is read by programs.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let cases = [
            ("30d", Some(2_592_000)),
            ("1d12h", Some(129_600)),
            ("15m", Some(900)),
            ("0s", Some(0)),
            ("3650d", Some(LONGEST)),
            ("3650d1s", None),
            ("", None),
            ("12", None),
            ("h", None),
            ("1h1d", None),
            ("1h2h", None),
            ("-1h", None),
            ("1.5h", None),
            ("99999999999999999999d", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(Span::parse(text).map(|span| span.0), seconds, "{text:?}");
        }
    }

    #[test]
    fn two_units_are_enough_to_read() {
        let cases = [
            (0, "0h"),
            (45, "45s"),
            (90_061, "1d 1h"),
            (86_400, "1d"),
            (86_460, "1d"),
            (3_720, "1h 2m"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
