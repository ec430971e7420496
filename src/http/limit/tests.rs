use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower::ServiceExt;

use super::*;
use crate::clock::ManualClock;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Time::new("2026-01-01T00:00:00Z".parse().unwrap())))
}

fn alice() -> Key {
    Key::Email("alice@example.org".into())
}

#[test]
fn a_bucket_empties_refills_evenly_and_concerns_nobody_else() {
    let clock = clock();
    let limiter = Limiter::new(Rule::per_minute("t", 6), clock.clone());
    let left: Vec<_> = (0..6).map(|_| limiter.check(&alice()).unwrap().remaining).collect();
    assert_eq!(left, [5, 4, 3, 2, 1, 0]);
    let refused = limiter.check(&alice()).unwrap_err();
    assert_eq!(
        refused,
        Standing {
            remaining: 0,
            refill_seconds: 10
        }
    );
    assert!(limiter.check(&Key::Account(Uuid::nil())).is_ok());
    clock.advance(Duration::from_millis(9_500));
    assert_eq!(limiter.check(&alice()).unwrap_err().refill_seconds, 1);
    clock.advance(Duration::from_millis(500));
    assert_eq!(limiter.check(&alice()).unwrap().remaining, 0);
    clock.advance(Duration::from_hours(1));
    assert_eq!(limiter.check(&alice()).unwrap().remaining, 5);
}

#[test]
fn full_buckets_are_forgotten_and_spent_ones_are_not() {
    let clock = clock();
    let limiter = Limiter::new(Rule::per_minute("t", 2), clock.clone());
    for id in 0..100 {
        let _ = limiter.check(&Key::Account(Uuid::from_u128(id)));
    }
    clock.advance(Duration::from_mins(2));
    let _ = (limiter.check(&alice()), limiter.check(&alice()));
    assert_eq!(limiter.forget_full(), 100);
    assert!(limiter.check(&alice()).is_err(), "a spent bucket survives");
}

#[test]
fn an_ipv6_network_is_one_key() {
    let key = |address: &str| Key::address(address.parse().unwrap());
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
    assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
}

#[tokio::test]
async fn answers_carry_both_fields_and_a_refusal_says_when_to_come_back() {
    let clock: Arc<dyn Clock> = clock();
    let limits = Arc::new(Limits::new(100, 2, &clock));
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route_layer(from_fn_with_state(limits.clone(), auth))
        .layer(from_fn_with_state(limits, api));
    let ask = || app.clone().oneshot(Request::new(Body::empty()));
    let fields = |response: &Response, name: &str| -> Vec<String> {
        let values = response.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    };

    let first = ask().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(
        fields(&first, "ratelimit-policy"),
        [r#""auth";q=2;w=60"#, r#""api";q=100;w=60"#]
    );
    assert_eq!(fields(&first, "ratelimit"), [r#""auth";r=1;t=30"#, r#""api";r=99;t=1"#]);
    assert_eq!(ask().await.unwrap().status(), 200);
    let third = ask().await.unwrap();
    assert_eq!(third.status(), 429);
    assert_eq!(fields(&third, "retry-after"), ["30"]);
    assert_eq!(fields(&third, "ratelimit"), [r#""auth";r=0;t=30"#, r#""api";r=97;t=1"#]);
}
