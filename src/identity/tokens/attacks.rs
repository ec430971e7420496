//! Every way we know to pass off a token that is not ours, or not any more.

use serde_json::{Value, json};

use super::*;

fn key(n: u8) -> Key {
    Key::from_seed(&[n; 32])
}

fn signer() -> Signer {
    Signer::new("https://api.example.org", vec![key(1), key(2)]).unwrap()
}

fn now() -> Time {
    Time::new("2026-01-01T00:00:00Z".parse().unwrap())
}

fn subject() -> Subject {
    Subject {
        user_id: Uuid::from_u128(1),
        session_id: Uuid::from_u128(2),
        role: Role::Support,
        auth_version: 3,
    }
}

fn token() -> String {
    signer().sign(subject(), now(), now().plus(Duration::from_hours(1))).0
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn parts(token: &str) -> (Value, Value) {
    let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (decode(parts.next().unwrap()), decode(parts.next().unwrap()))
}

/// Signs whatever it is given with one of our own keys: what remains is the check of the content.
fn forge(header: &Value, claims: &Value, key: &Key) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let pair = Ed25519KeyPair::from_pkcs8(key.sign.as_bytes()).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

fn without(mut base: Value, name: &str) -> Value {
    base.as_object_mut().unwrap().remove(name);
    base
}

#[test]
fn our_own_token_passes_until_it_expires_and_says_what_was_put_in() {
    let claims = signer().verify(&token(), now()).unwrap();
    assert_eq!((claims.sub, claims.sid), (Uuid::from_u128(1), Uuid::from_u128(2)));
    assert_eq!((claims.role, claims.ver), (Role::Support, 3));
    let last = now().plus(LIFETIME).minus(Duration::from_secs(1));
    assert!(signer().verify(&token(), last).is_ok());
    assert_eq!(signer().verify(&token(), now().plus(LIFETIME)), Err(Refusal::Expired));
    let yesterday = now().minus(Duration::from_hours(24));
    assert_eq!(signer().verify(&token(), yesterday), Err(Refusal::Early));
    let (_, seconds) = signer().sign(subject(), now(), now().plus(Duration::from_secs(90)));
    assert_eq!(seconds, 90, "a token does not outlive its session");
}

#[test]
fn a_tampered_header_is_refused_even_when_signed_with_our_key() {
    let (header, claims) = parts(&token());
    assert_eq!(
        signer().verify(&forge(&header, &claims, &key(2)), now()).unwrap().ver,
        3
    );
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": key(9).jwk.x});
    let table = [
        ("alg none", with(header.clone(), "alg", json!("none"))),
        ("alg None", with(header.clone(), "alg", json!("None"))),
        ("alg empty", with(header.clone(), "alg", json!(""))),
        ("alg HS256", with(header.clone(), "alg", json!("HS256"))),
        ("alg ES256", with(header.clone(), "alg", json!("ES256"))),
        ("alg RS256", with(header.clone(), "alg", json!("RS256"))),
        ("no alg", without(header.clone(), "alg")),
        ("typ JWT", with(header.clone(), "typ", json!("JWT"))),
        ("no typ", without(header.clone(), "typ")),
        ("unknown kid", with(header.clone(), "kid", json!(key(9).id()))),
        ("kid of the other key", with(header.clone(), "kid", json!(key(1).id()))),
        ("kid is a path", with(header.clone(), "kid", json!("../../dev/null"))),
        ("kid is SQL", with(header.clone(), "kid", json!("' OR 1=1 --"))),
        ("no kid", without(header.clone(), "kid")),
        ("crit", with(header.clone(), "crit", json!(["exp"]))),
        ("b64 false", with(header.clone(), "b64", json!(false))),
        (
            "jku",
            with(header.clone(), "jku", json!("https://evil.example/jwks.json")),
        ),
        ("jwk", with(header.clone(), "jwk", jwk)),
        (
            "x5u",
            with(header.clone(), "x5u", json!("https://evil.example/cert.pem")),
        ),
        ("x5c", with(header.clone(), "x5c", json!(["AAAA"]))),
        ("cty", with(header.clone(), "cty", json!("JWT"))),
        ("zip", with(header.clone(), "zip", json!("DEF"))),
        ("unknown member", with(header.clone(), "x", json!(1))),
    ];
    for (attack, header) in table {
        let refused = signer().verify(&forge(&header, &claims, &key(2)), now());
        assert!(refused.is_err(), "{attack} passed");
    }
}

#[test]
fn wrong_claims_are_refused_even_when_signed_with_our_key() {
    let (header, claims) = parts(&token());
    let at = |seconds: i64| json!(now().as_second() + seconds);
    let table = [
        (
            "other issuer",
            with(claims.clone(), "iss", json!("https://evil.example")),
        ),
        (
            "issuer list",
            with(claims.clone(), "iss", json!(["https://api.example.org"])),
        ),
        ("no issuer", without(claims.clone(), "iss")),
        ("other audience", with(claims.clone(), "aud", json!("portal"))),
        (
            "audience list",
            with(claims.clone(), "aud", json!(["lumbung", "portal"])),
        ),
        ("no audience", without(claims.clone(), "aud")),
        ("expired", with(claims.clone(), "exp", at(0))),
        ("expiry as text", with(claims.clone(), "exp", json!("9999999999"))),
        (
            "expiry as fraction",
            with(claims.clone(), "exp", json!(9_999_999_999.5)),
        ),
        ("no expiry", without(claims.clone(), "exp")),
        ("not yet", with(claims.clone(), "nbf", at(60))),
        ("issued in the future", with(claims.clone(), "iat", at(60))),
        ("no nbf", without(claims.clone(), "nbf")),
        ("subject is a name", with(claims.clone(), "sub", json!("admin"))),
        ("no session", without(claims.clone(), "sid")),
        ("unknown role", with(claims.clone(), "role", json!("root"))),
        ("no version", without(claims.clone(), "ver")),
    ];
    for (attack, claims) in table {
        let refused = signer().verify(&forge(&header, &claims, &key(2)), now());
        assert!(refused.is_err(), "{attack} passed");
    }
}

#[test]
fn signatures_that_are_not_ours_are_refused() {
    let (header, claims) = parts(&token());
    let token = token();
    let message = token.rsplit_once('.').unwrap().0.to_owned();
    let own = token.rsplit_once('.').unwrap().1.to_owned();
    // The classic confusion: the public key, which everybody has, as an HMAC secret.
    let hmac_header = with(header.clone(), "alg", json!("HS256"));
    let hmac_message = format!("{}.{}", part(&hmac_header), part(&claims));
    let hmac_key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        &URL_SAFE_NO_PAD.decode(&key(2).jwk.x).unwrap(),
    );
    let hmac = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&hmac_key, hmac_message.as_bytes()));
    let promoted = with(claims.clone(), "role", json!("admin"));
    let table = [
        ("a stranger's key under our kid", forge(&header, &claims, &key(9))),
        ("our older key under the newer kid", forge(&header, &claims, &key(1))),
        ("HMAC with the public key", format!("{hmac_message}.{hmac}")),
        ("no signature", format!("{message}.")),
        ("zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        (
            "another payload",
            format!("{}.{}.{own}", part(&header), part(&promoted)),
        ),
        ("a part too many", format!("{token}.{own}")),
        ("two parts", message.clone()),
        ("padding", format!("{token}==")),
        ("a newline", format!("{token}\n")),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("oversized", format!("{}.{token}", "A".repeat(MAX_LENGTH))),
    ];
    for (attack, token) in table {
        assert!(signer().verify(&token, now()).is_err(), "{attack} passed");
    }
    for cut in 0..token.len() {
        assert!(
            signer().verify(&token[..cut], now()).is_err(),
            "a token cut at {cut} passed"
        );
    }
}

#[test]
fn a_rotated_key_still_verifies_and_both_are_published() {
    let old = Signer::new("https://api.example.org", vec![key(1)]).unwrap();
    let (token, _) = old.sign(subject(), now(), now().plus(LIFETIME));
    assert!(signer().verify(&token, now()).is_ok());
    let retired = Signer::new("https://api.example.org", vec![key(2)]).unwrap();
    assert_eq!(retired.verify(&token, now()), Err(Refusal::UnknownKey));
    let jwks = signer().jwks();
    let ids: Vec<_> = jwks.keys.iter().map(|key| key.kid.as_str()).collect();
    assert_eq!(ids, [key(2).id(), key(1).id()]);
    // Somebody else's client verifies with nothing but the published key.
    let public = json!(jwks.keys[1]);
    let public = DecodingKey::from_jwk(&serde_json::from_value(public).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[AUDIENCE]);
    rules.validate_exp = false;
    assert!(jsonwebtoken::decode::<Claims>(&token, &public, &rules).is_ok());
}

#[test]
fn keys_are_read_from_pem_in_order_and_the_last_one_signs() {
    let text = format!("# first\n{}\n# second\n{}", key(1).to_pem(), key(2).to_pem());
    let signer = Signer::from_pem("x", &text).unwrap();
    assert_eq!(signer.newest().id(), key(2).id());
    assert_eq!(signer.keys()[0].id(), key(1).id());
    // RFC 8037 A.2 and A.3: a known key and its thumbprint.
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let seed = URL_SAFE_NO_PAD.decode(seed).unwrap().try_into().unwrap();
    let known = Key::from_seed(&seed);
    assert_eq!(known.jwk.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(known.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let rsa = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----";
    for bad in ["", "hello", rsa, "-----BEGIN PRIVATE KEY-----\n!!"] {
        assert!(Signer::from_pem("x", bad).is_err(), "{bad}");
    }
    assert!(!format!("{signer:?}").contains("PRIVATE"));
}
