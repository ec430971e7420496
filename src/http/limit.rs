//! Rate limits: so many requests per account (or, for strangers, per address), fewer on the routes that take passwords.
//!
//! Each rule is a bucket of `quota` requests that refills evenly within `window`; both stand in the answer's
//! `RateLimit-Policy`, what is left in `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11; `t` is when the next
//! request is refilled), and a refusal is 429 with a `Retry-After` that is never earlier than `t`.
//!
//! Buckets live in this process: with several replicas a client may get the quota from each. Memory is bounded:
//! keys are kept as keyed hashes (no e-mail address stays here), full buckets are forgotten each minute, and above
//! [`MAX_KEYS`] new keys share [`SHARED`] buckets until there is room. Time is the app's Clock, made monotone.

pub mod peer;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use prometheus::IntCounterVec;
use uuid::Uuid;

use super::extract::Peer;
use super::problem::{Kind, Problem};
use crate::clock::{Clock, Time};
use crate::tasks::{Report, Task};
use crate::telemetry;

/// About 10 MB per rule at most.
pub const MAX_KEYS: usize = 100_000;
const SHARED: u64 = 4096;

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_http_rate_limited_total",
        "Requests refused because a quota was spent.",
        &["rule"],
    )
});

/// Whose bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Account(Uuid),
    Address(IpAddr),
    Email(String),
}

impl Key {
    /// One customer usually holds a whole IPv6 /64, so that is one key.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        })
    }
}

/// The signed-in account, as a request extension; set by whoever authenticates.
#[derive(Clone, Copy, Debug)]
pub struct Account(pub Uuid);

/// `quota` requests per `window`, under a name that clients see.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub quota: NonZeroU32,
    pub window: Duration,
}

impl Rule {
    pub fn per_minute(name: &'static str, quota: u32) -> Self {
        Self {
            name,
            quota: NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN),
            window: Duration::from_mins(1),
        }
    }

    fn refill(&self) -> Duration {
        (self.window / self.quota.get()).max(Duration::from_nanos(1))
    }
}

/// The app's clock as governor wants it: nanoseconds that never run backwards, whatever the wall clock does.
#[derive(Clone)]
struct Monotone {
    clock: Arc<dyn Clock>,
    /// When it was last asked, and how much time had passed by then.
    last: Arc<Mutex<(Time, Duration)>>,
}

impl governor::clock::Clock for Monotone {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (now, last.1 + now.since(last.0));
        Nanos::from(last.1)
    }
}

/// What a bucket holds after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub remaining: u32,
    /// Seconds until one more request is refilled; at least 1.
    pub refill_seconds: u64,
}

/// One rule and its buckets.
pub struct Limiter {
    rule: Rule,
    clock: Monotone,
    hasher: RandomState,
    buckets: RateLimiter<u64, DashMapStateStore<u64>, Monotone, StateInformationMiddleware>,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limiter({:?}, {} keys)", self.rule, self.buckets.len())
    }
}

impl Limiter {
    pub fn new(rule: Rule, clock: Arc<dyn Clock>) -> Self {
        let last = Arc::new(Mutex::new((clock.now(), Duration::ZERO)));
        let clock = Monotone { clock, last };
        let quota = Quota::with_period(rule.refill())
            .expect("the refill time is not zero")
            .allow_burst(rule.quota);
        Self {
            rule,
            hasher: RandomState::new(),
            buckets: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            clock,
        }
    }

    /// Takes one request out of the key's bucket: `Err` when it is empty.
    pub fn check(&self, key: &Key) -> Result<Standing, Standing> {
        let mut slot = self.hasher.hash_one(key);
        if self.buckets.len() >= MAX_KEYS {
            slot %= SHARED;
        }
        let seconds = |wait: Duration| wait.as_nanos().div_ceil(1_000_000_000).max(1);
        let standing = |remaining, wait| Standing {
            remaining,
            refill_seconds: u64::try_from(seconds(wait)).unwrap_or(u64::MAX),
        };
        match self.buckets.check_key(&slot) {
            Ok(state) => Ok(standing(state.remaining_burst_capacity(), self.rule.refill())),
            Err(until) => {
                REFUSED.with_label_values(&[self.rule.name]).inc();
                Err(standing(0, until.wait_time_from(self.clock.now())))
            }
        }
    }

    /// The same as a problem, for handlers that know the key only from the body.
    pub fn admit(&self, key: &Key) -> Result<(), Problem> {
        self.check(key).map(drop).map_err(|standing| self.refusal(standing))
    }

    fn refusal(&self, standing: Standing) -> Problem {
        let mut problem = Problem::new(Kind::RateLimited).header(header::RETRY_AFTER, standing.refill_seconds);
        self.write(standing, &mut problem.headers);
        problem
    }

    /// Appends the two fields; several rules make a list.
    fn write(&self, standing: Standing, headers: &mut HeaderMap) {
        let Rule { name, quota, window } = self.rule;
        let policy = format!("\"{name}\";q={quota};w={}", window.as_secs());
        let state = format!("\"{name}\";r={};t={}", standing.remaining, standing.refill_seconds);
        for (field, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(HeaderName::from_static(field), value);
            }
        }
    }

    /// Forgets buckets that are full again, which is what an unknown key has.
    fn forget_full(&self) -> u64 {
        let before = self.buckets.len();
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
        u64::try_from(before.saturating_sub(self.buckets.len())).unwrap_or(u64::MAX)
    }

    async fn guard(&self, key: Key, request: Request, next: Next) -> Response {
        match self.check(&key) {
            Ok(standing) => {
                let mut response = next.run(request).await;
                self.write(standing, response.headers_mut());
                response
            }
            Err(standing) => self.refusal(standing).into_response(),
        }
    }
}

/// All rules of the API.
#[derive(Debug)]
pub struct Limits {
    /// Every request, by account or address.
    api: Limiter,
    /// Requests that carry a password or a refresh token, by address.
    auth: Limiter,
    /// Password attempts by e-mail address, whether or not it has an account: guessing from many addresses.
    pub email: Limiter,
}

impl Limits {
    /// Requests a minute: of any kind, and of those with credentials.
    pub fn new(api: u32, auth: u32, clock: &Arc<dyn Clock>) -> Self {
        let limiter = |name, quota| Limiter::new(Rule::per_minute(name, quota), clock.clone());
        Self {
            api: limiter("api", api),
            auth: limiter("auth", auth),
            email: limiter("email", auth),
        }
    }

    /// Keeps the bucket stores small.
    pub fn task(self: &Arc<Self>) -> Task {
        let limits = self.clone();
        Task::new("forget_rate_limits", Duration::from_mins(1), None, move || {
            let done = [&limits.api, &limits.auth, &limits.email].map(Limiter::forget_full);
            std::future::ready(Ok(Report::did(done.iter().sum())))
        })
    }
}

/// A server that was not told the address (a test without a socket) has one bucket for all strangers.
fn peer_key(request: &Request) -> Key {
    let peer = request.extensions().get::<Peer>();
    Key::address(peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0))
}

/// Middleware for the whole API, inside the layers that find the peer and the account.
pub async fn api(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let account = request.extensions().get::<Account>();
    let key = account.map_or_else(|| peer_key(&request), |account| Key::Account(account.0));
    limits.api.guard(key, request, next).await
}

/// Middleware for routes that take credentials.
pub async fn auth(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let key = peer_key(&request);
    limits.auth.guard(key, request, next).await
}

#[cfg(test)]
mod tests;
