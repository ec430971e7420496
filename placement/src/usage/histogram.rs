//! A sketch of how often which amounts of CPU were used, for percentiles in constant space.
//!
//! Buckets grow with the amount, eight to every doubling, so an answer is off by less than an eighth of itself and, with
//! interpolation, usually by a tenth of that. VPA's recommender keeps its histograms the same way, with 5 % a bucket.

use serde::{Deserialize, Serialize};

/// Larger amounts are counted as this one: 262 CPUs.
pub(super) const LARGEST_MILLI: i64 = (1 << 18) - 1;
/// Amounts below this have a bucket each, and so many buckets share a doubling above.
const SUB: i64 = 8;
const SUB_BITS: u32 = SUB.trailing_zeros();

/// Buckets that were ever hit, by their number; few, since a workload keeps to its habits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Histogram(Vec<(u8, u64)>);

impl Histogram {
    pub fn add(&mut self, milli: i64, weight: u64) {
        let bucket = bucket(milli);
        match self.0.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(weight),
            Err(at) => self.0.insert(at, (bucket, weight)),
        }
    }

    /// Every count, without one sixteenth of it; what is worn away is forgotten.
    pub fn fade(&mut self) {
        self.0.retain_mut(|entry| {
            entry.1 -= entry.1.div_ceil(16);
            entry.1 > 0
        });
    }

    pub fn entries(&self) -> &[(u8, u64)] {
        &self.0
    }
}

/// The percentile of several histograms taken together, in millionths of a CPU; zero if they are empty.
pub(super) fn percentile_micro<'a>(parts: impl Iterator<Item = &'a Histogram> + Clone, ppm: i64) -> i64 {
    let mut counts = [0_u64; 256];
    for (bucket, count) in parts.flat_map(Histogram::entries) {
        counts[usize::from(*bucket)] += count;
    }
    let all: u64 = counts.iter().sum();
    let wanted = (u128::from(all) * u128::from(ppm.unsigned_abs())).div_ceil(1_000_000);
    let mut below = 0_u128;
    for (bucket, count) in (0..=u8::MAX).zip(counts) {
        let count = u128::from(count);
        if count > 0 && below + count >= wanted {
            let (low, high) = bounds(bucket);
            let into = u128::from((high - low).unsigned_abs()) * 1_000 * (wanted - below) / count;
            return low * 1_000 + i64::try_from(into).unwrap_or(0);
        }
        below += count;
    }
    0
}

fn bucket(milli: i64) -> u8 {
    let milli = milli.clamp(0, LARGEST_MILLI);
    if milli < SUB {
        return u8::try_from(milli).unwrap_or(0);
    }
    let doubling = milli.ilog2() - SUB_BITS;
    let number = i64::from(doubling) * SUB + (milli >> doubling);
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// The smallest and the largest amount of a bucket.
fn bounds(bucket: u8) -> (i64, i64) {
    let bucket = i64::from(bucket);
    if bucket < SUB {
        return (bucket, bucket);
    }
    let doubling = bucket / SUB - 1;
    let low = (bucket - doubling * SUB) << doubling;
    (low, low + (1 << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_amount_is_within_the_bounds_of_its_bucket_and_buckets_follow_each_other() {
        let mut last = 0;
        for milli in 0..=LARGEST_MILLI {
            let number = bucket(milli);
            let (low, high) = bounds(number);
            assert!((low..=high).contains(&milli), "{milli} is not in {low}..={high}");
            assert!((high - low) * SUB <= low, "bucket {number} is too wide");
            assert!(number == last || number == last + 1, "no bucket is skipped at {milli}");
            last = number;
        }
    }

    #[test]
    fn percentiles_of_a_uniform_spread_are_close() {
        let mut histogram = Histogram::default();
        for milli in 1..=1_000 {
            histogram.add(milli, 256);
        }
        for (ppm, exact) in [(500_000, 500_000), (900_000, 900_000), (950_000, 950_000)] {
            let found = percentile_micro([&histogram].into_iter(), ppm);
            assert!((found - exact).abs() <= exact / 50, "{found} for {exact}");
        }
        assert_eq!(percentile_micro([&Histogram::default()].into_iter(), 950_000), 0);
    }
}
