//! Time and randomness, the two ambient inputs, as values that are passed in.
//!
//! Everything that reads the time or draws a random number takes an [`Ambient`]; production gives it the system's,
//! tests a manual clock and a seed. This file is the only one that may ask the operating system.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use uuid::Uuid;

/// An instant, to the microsecond (what PostgreSQL keeps), written as RFC 3339 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Time(Timestamp);

impl Time {
    /// From a timestamp, cut to the microsecond so that a value equals itself after a round trip through SQL.
    pub fn new(at: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
    }

    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        Self(self.0.checked_add(by).unwrap_or(Timestamp::MAX))
    }

    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        Self(self.0.checked_sub(by).unwrap_or(Timestamp::MIN))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }
}

impl Deref for Time {
    type Target = Timestamp;
    fn deref(&self) -> &Timestamp {
        &self.0
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self::new(at)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl sqlx::Type<sqlx::Postgres> for Time {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <jiff_sqlx::Timestamp as sqlx::Type<sqlx::Postgres>>::type_info()
    }
}

impl sqlx::postgres::PgHasArrayType for Time {
    fn array_type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("_timestamptz")
    }
}

impl sqlx::Encode<'_, sqlx::Postgres> for Time {
    fn encode_by_ref(
        &self,
        buf: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        jiff_sqlx::Timestamp::from(self.0).encode_by_ref(buf)
    }
}

impl<'r> sqlx::Decode<'r, sqlx::Postgres> for Time {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self(
            <jiff_sqlx::Timestamp as sqlx::Decode<sqlx::Postgres>>::decode(value)?.to_jiff(),
        ))
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Time {}

/// Tells the time and waits for it.
pub trait Clock: Send + Sync {
    fn now(&self) -> Time;
    /// Resolves when the clock shows `at` or later.
    fn until(&self, at: Time) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> Time {
        Time::new(Timestamp::now())
    }

    fn until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now())))
    }
}

/// A clock that moves only when told; waiting tasks wake when it passes their instant.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Time>);

impl ManualClock {
    pub fn at(start: Time) -> Self {
        Self(watch::Sender::new(start))
    }

    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.0.borrow()
    }

    fn until(&self, at: Time) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            // An error means the clock is gone: nobody can move it any more, so waiting on would be for ever.
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}

/// The random source: a cryptographically strong generator, seeded by the operating system or, in tests, by a number.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Mutex<Source>>);

#[derive(Debug)]
struct Source {
    rng: StdRng,
    /// The newest id's millisecond, and how many ids it has had.
    newest: (u64, u16),
}

impl Entropy {
    pub fn from_os() -> Self {
        Self::new(rand::make_rng())
    }

    pub fn seeded(seed: u64) -> Self {
        Self::new(StdRng::seed_from_u64(seed))
    }

    fn new(rng: StdRng) -> Self {
        Self(Arc::new(Mutex::new(Source { rng, newest: (0, 0) })))
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ten bytes behind the millisecond of a UUIDv7. Their first 12 bits count the ids of one millisecond (RFC 9562,
    /// 6.2, method 1), so that what one process makes in turn also sorts in turn; the rest is random.
    fn after_millis(&self, millis: u64) -> [u8; 10] {
        let mut source = self.source();
        let count = if source.newest.0 == millis {
            source.newest.1.wrapping_add(1) & 0x0fff
        } else {
            0
        };
        source.newest = (millis, count);
        let mut bytes = [0; 10];
        source.rng.fill_bytes(&mut bytes);
        bytes[..2].copy_from_slice(&count.to_be_bytes());
        bytes
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.source().rng.fill_bytes(bytes);
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number in `0..bound` without bias; `bound` must not be zero.
    pub fn below(&self, bound: u32) -> u32 {
        use rand::RngExt;
        self.source().rng.random_range(0..bound.max(1))
    }

    /// `length` characters drawn from `alphabet` (ASCII).
    pub fn string(&self, alphabet: &[u8], length: usize) -> String {
        let size = u32::try_from(alphabet.len()).unwrap_or(u32::MAX);
        (0..length)
            .map(|_| char::from(alphabet[self.below(size) as usize]))
            .collect()
    }
}

/// What a domain function needs of the outside world beside its arguments.
#[derive(Clone)]
pub struct Ambient {
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
}

impl Ambient {
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Entropy::from_os(),
        }
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// A UUIDv7: its head is the time, so that keys grow and pages are read in order.
    pub fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.entropy.after_millis(millis)).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_clock_and_follow_the_seed() {
        let start = Time::new("2026-01-01T00:00:00Z".parse().unwrap());
        let ambient = || Ambient {
            clock: Arc::new(ManualClock::at(start)),
            entropy: Entropy::seeded(7),
        };
        let (a, b) = (ambient().new_id(), ambient().new_id());
        assert_eq!(a, b);
        assert_eq!(a.get_version_num(), 7);
        let (seconds, _) = a.get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), start.as_second());
        let one = ambient();
        let ids: Vec<_> = (0..100).map(|_| one.new_id()).collect();
        assert!(ids.is_sorted(), "ids of one millisecond keep their order");
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_whoever_waits_for_it() {
        let clock = Arc::new(ManualClock::at(Time::new("2026-01-01T00:00:00Z".parse().unwrap())));
        let waiting = clock.until(clock.now().plus(Duration::from_mins(1)));
        clock.advance(Duration::from_mins(2));
        tokio::time::timeout(Duration::from_secs(5), waiting)
            .await
            .expect("woken");
    }
}
