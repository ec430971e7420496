//! Kubernetes quantities ("22500m", "60Gi", "1e3") as whole milli-units and MiB.
//!
//! Capacity is rounded down and requests are rounded up, each by its caller: both are then on the safe side.

/// The exact value in thousandths of the unit, as a fraction; `None` when it is no quantity or too large.
fn exact(text: &str) -> Option<(i128, i128)> {
    let (number, (numerator, denominator)) = split(text.trim())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(unsigned) || !digits(fraction) || (unsigned.is_empty() && fraction.is_empty()) || fraction.len() > 12 {
        return None;
    }
    let mantissa: i128 = format!("0{unsigned}{fraction}").parse().ok()?;
    let mantissa = if whole.starts_with('-') { -mantissa } else { mantissa };
    let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some((mantissa.checked_mul(numerator)?, denominator.checked_mul(power)?))
}

fn floor(text: &str, unit: i128) -> Option<i64> {
    let (numerator, denominator) = exact(text)?;
    i64::try_from(numerator.div_euclid(denominator.checked_mul(unit)?)).ok()
}

fn ceil(text: &str, unit: i128) -> Option<i64> {
    let (numerator, denominator) = exact(text)?;
    i64::try_from(-(-numerator).div_euclid(denominator.checked_mul(unit)?)).ok()
}

/// Splits off the suffix; its scale as a fraction of thousandths.
fn split(text: &str) -> Option<(&str, (i128, i128))> {
    const BINARY: [(&str, u32); 6] = [("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4), ("Pi", 5), ("Ei", 6)];
    const DECIMAL: [(&str, u32); 6] = [("k", 1), ("M", 2), ("G", 3), ("T", 4), ("P", 5), ("E", 6)];
    for (suffix, power) in BINARY {
        if let Some(number) = text.strip_suffix(suffix) {
            return Some((number, (1000 * 1024_i128.pow(power), 1)));
        }
    }
    if let Some(at) = text.find(['e', 'E']).filter(|at| at + 1 < text.len()) {
        let exponent: i32 = text[at + 1..]
            .parse()
            .ok()
            .filter(|exponent| (-9..=18).contains(exponent))?;
        let power = 10_i128.pow(exponent.unsigned_abs());
        return Some((
            &text[..at],
            if exponent < 0 { (1000, power) } else { (1000 * power, 1) },
        ));
    }
    for (suffix, power) in DECIMAL {
        if let Some(number) = text.strip_suffix(suffix) {
            return Some((number, (1000 * 1000_i128.pow(power), 1)));
        }
    }
    for (suffix, denominator) in [("m", 1), ("u", 1000), ("n", 1_000_000)] {
        if let Some(number) = text.strip_suffix(suffix) {
            return Some((number, (1, denominator)));
        }
    }
    Some((text, (1000, 1)))
}

const MIB: i128 = 1024 * 1024 * 1000;

/// Thousandths of the unit, rounded up: CPU requests in milli-CPU.
pub fn milli_ceil(text: &str) -> Option<i64> {
    ceil(text, 1)
}

/// Thousandths of the unit, rounded down: allocatable CPU.
pub fn milli_floor(text: &str) -> Option<i64> {
    floor(text, 1)
}

/// MiB, rounded up: memory requests.
pub fn mib_ceil(text: &str) -> Option<i64> {
    ceil(text, MIB)
}

/// MiB, rounded down: allocatable memory and disk.
pub fn mib_floor(text: &str) -> Option<i64> {
    floor(text, MIB)
}

/// Whole units: pods.
pub fn units(text: &str) -> Option<i64> {
    floor(text, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_as_kubernetes_writes_them() {
        for (text, milli) in [
            ("250m", 250),
            ("1", 1000),
            ("22500m", 22_500),
            ("0.1", 100),
            ("1.5", 1500),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("5E-1", 500),
            ("0", 0),
            ("-1", -1000),
        ] {
            assert_eq!(milli_floor(text), Some(milli), "{text}");
            assert_eq!(milli_ceil(text), Some(milli), "{text}");
        }
        for (text, floor, ceil) in [
            ("512Mi", 512, 512),
            ("60Gi", 61_440, 61_440),
            ("1G", 953, 954),
            ("128974848", 123, 123),
            ("129e6", 123, 124),
            ("65791308Ki", 64_249, 64_250),
        ] {
            assert_eq!((mib_floor(text), mib_ceil(text)), (Some(floor), Some(ceil)), "{text}");
        }
        assert_eq!(units("110"), Some(110));
    }

    #[test]
    fn fractions_of_a_milli_round_the_safe_way() {
        assert_eq!((milli_floor("1500u"), milli_ceil("1500u")), (Some(1), Some(2)));
        assert_eq!((milli_floor("100n"), milli_ceil("100n")), (Some(0), Some(1)));
        assert_eq!((milli_floor("2000u"), milli_ceil("2000u")), (Some(2), Some(2)));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Mi", "m", "1x", "1.2.3", "--1", "1e", "1e99", "e3", "1 Gi"] {
            assert_eq!(milli_floor(text), None, "{text}");
        }
    }
}
