use super::*;
use crate::clock::Entropy;

fn at(seconds: u64) -> Time {
    Time::new("2026-01-01T00:00:00Z".parse().unwrap()).plus(Duration::from_secs(seconds))
}

fn session(counter: i64) -> sessions::Session {
    sessions::Session {
        id: Uuid::from_u128(7),
        user_id: Uuid::from_u128(8),
        seed: vec![3; 32],
        counter,
        rotated_at: at(0),
        expires_at: at(LIFETIME.as_secs()),
        revoked_at: None,
    }
}

fn keys(seed: u64) -> (RefreshKeys, MasterKey) {
    let (key, _) = MasterKey::generate(1, &Entropy::seeded(seed));
    (RefreshKeys::new(std::slice::from_ref(&key)), key)
}

#[test]
fn a_token_is_the_same_every_time_and_only_ours() {
    let (keys_a, _) = keys(1);
    let session = session(4);
    let text = keys_a.token(session.id, &session.seed, 4);
    assert_eq!(text, keys_a.token(session.id, &session.seed, 4));
    let token = Token::parse(&text).unwrap();
    assert!(keys_a.made(&token, &session.seed));
    assert!(!keys(2).0.made(&token, &session.seed), "another server's key");
    assert!(!keys_a.made(&token, &[4; 32]), "another seed");
    let next = Token {
        n: 5,
        mac: token.mac.clone(),
        ..token
    };
    assert!(!keys_a.made(&next, &session.seed), "another number");
    let other = Token {
        session: Uuid::from_u128(9),
        n: 4,
        mac: token.mac.clone(),
    };
    assert!(!keys_a.made(&other, &session.seed), "another session");
    let empty = Token {
        session: session.id,
        n: 4,
        mac: Vec::new(),
    };
    assert!(!keys_a.made(&empty, &session.seed), "no MAC");
}

#[test]
fn a_new_master_key_still_takes_the_tokens_of_the_old_one() {
    let (old, old_key) = keys(1);
    let (new_key, _) = MasterKey::generate(2, &Entropy::seeded(2));
    let both = RefreshKeys::new(&[old_key, new_key.clone()]);
    let token = Token::parse(&old.token(Uuid::from_u128(7), &[3; 32], 1)).unwrap();
    assert!(both.made(&token, &[3; 32]));
    let only_new = RefreshKeys::new(&[new_key]);
    assert_eq!(
        both.token(Uuid::from_u128(7), &[3; 32], 2),
        only_new.token(Uuid::from_u128(7), &[3; 32], 2)
    );
    assert!(!only_new.made(&token, &[3; 32]));
}

#[test]
fn a_token_has_one_spelling() {
    let good = keys(1).0.token(Uuid::from_u128(7), &[3; 32], 12);
    assert!(Token::parse(&good).is_some());
    let dashed = good.replace(
        &Uuid::from_u128(7).simple().to_string(),
        &Uuid::from_u128(7).to_string(),
    );
    let bad = [
        String::new(),
        "lrt_".to_owned(),
        good.replace("lrt_", ""),
        good.replace("lrt_", "LRT_"),
        good.replace(".12.", ".012."),
        good.replace(".12.", ".+12."),
        good.replace(".12.", ".-12."),
        good.replace(".12.", ".99999999999999999999."),
        good.replace(".12.", ".."),
        dashed,
        format!("{good}.x"),
        format!("{good}="),
        good.to_uppercase(),
    ];
    for text in bad {
        assert!(Token::parse(&text).is_none(), "{text}");
    }
}

#[test]
fn what_a_token_is_worth() {
    let (day, grace) = (24 * 3600, GRACE.as_secs());
    let table = [
        // counter, token, seconds since the last use
        (0, 0, 5, Verdict::Rotate),
        (5, 5, 0, Verdict::Rotate),
        (5, 5, 13 * day, Verdict::Rotate),
        (5, 4, 0, Verdict::Repeat),
        (5, 4, grace, Verdict::Repeat),
        (5, 4, grace + 1, Verdict::Reused),
        (5, 3, 0, Verdict::Reused),
        (5, 0, 0, Verdict::Reused),
        (5, 6, 0, Verdict::Over),
        (5, 5, 14 * day, Verdict::Over),
        (5, 4, 14 * day, Verdict::Over),
    ];
    for (counter, n, seconds, verdict) in table {
        assert_eq!(
            judge(&session(counter), n, at(seconds)),
            verdict,
            "{n} of {counter} after {seconds} s"
        );
    }
    let ended = sessions::Session {
        revoked_at: Some(at(0)),
        ..session(5)
    };
    let expired = sessions::Session {
        rotated_at: at(29 * day),
        ..session(5)
    };
    for n in 0..=5 {
        assert_eq!(judge(&ended, n, at(1)), Verdict::Over);
        assert_eq!(judge(&expired, n, at(30 * day)), Verdict::Over);
    }
    assert_eq!(judge(&expired, 5, at(30 * day - 1)), Verdict::Rotate);
}
