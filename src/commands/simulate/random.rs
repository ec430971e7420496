//! Chance that is the same on every machine: SplitMix64 (Steele, Lea, Flood 2014), and whole numbers only, since a
//! logarithm in floating point may differ in its last bit from one system to the next.

/// ln 2 in 32 fractional bits.
const LN_2: u128 = 2_977_044_472;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// An independent stream per purpose, so that more of one thing does not change another.
    pub fn stream(seed: u64, purpose: u64) -> Self {
        let mut mixed = Self(seed);
        let base = mixed.next();
        Self(Self(base ^ purpose.wrapping_mul(GOLDEN)).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, by multiplication: the bias is one in 2^64 / bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound.max(1));
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Exponentially distributed around `mean`, rounded down: the gaps of arrivals that do not know of each other.
    pub fn exponential(&mut self, mean: i64) -> i64 {
        let uniform = (self.next() >> 11) + 1;
        let bits = (u128::from(53_u32) << 32) - u128::from(log2(uniform));
        let product = u128::from(mean.max(0).unsigned_abs()) * ((bits * LN_2) >> 32);
        i64::try_from(product >> 32).unwrap_or(i64::MAX)
    }
}

/// Of a number from 1 on, with 32 fractional bits, by squaring.
fn log2(number: u64) -> u64 {
    let whole = u64::from(number.ilog2());
    let mut mantissa = number << (63 - number.ilog2());
    let mut fraction = 0;
    for _ in 0..32 {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let carry = square >> 127 != 0;
        mantissa = u64::try_from(square >> if carry { 64 } else { 63 }).unwrap_or(u64::MAX);
        fraction = fraction << 1 | u64::from(carry);
    }
    whole << 32 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 1234567 in the algorithm's published test vector.
    #[test]
    fn it_is_splitmix64() {
        let mut random = Random(1_234_567);
        let first: [u64; 3] = std::array::from_fn(|_| random.next());
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn logarithms_are_right_to_the_last_bits() {
        assert_eq!(log2(1), 0);
        assert_eq!(log2(1 << 53), 53 << 32);
        #[allow(clippy::cast_precision_loss)]
        let got = log2(10) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
        assert!((got - std::f64::consts::LOG2_10).abs() < 1e-9, "{got}");
    }

    #[test]
    fn exponential_gaps_have_the_mean_and_the_tail() {
        let mut random = Random::stream(7, 1);
        let gaps: Vec<i64> = (0..20_000).map(|_| random.exponential(1_000)).collect();
        let mean = gaps.iter().sum::<i64>() / 20_000;
        assert!((970..=1_030).contains(&mean), "{mean}");
        let beyond = gaps.iter().filter(|gap| **gap > 1_000).count();
        assert!((7_100..=7_620).contains(&beyond), "one in e: {beyond}");
    }

    #[test]
    fn streams_differ_and_stay_below_their_bound() {
        let (mut one, mut two) = (Random::stream(1, 1), Random::stream(1, 2));
        assert_ne!(one.next(), two.next());
        assert!((0..1_000).all(|_| one.below(7) < 7));
        assert_eq!(one.below(1), 0);
    }
}
