use super::*;

fn refused(password: &str) -> Option<String> {
    objection(&Password::new(password), "budi.santoso@example.org")
}

#[test]
fn weak_passwords_are_refused() {
    let table = [
        "short12",
        "password",
        "Password1",
        "PASSWORD2024!",
        "p4ssw0rd",
        "P@ssw0rd123",
        "12345678",
        "87654321",
        "1234567890123",
        "qwertyuiop",
        "qwerty123",
        "1q2w3e4r",
        "asdfghjkl",
        "abcdefgh",
        "aaaaaaaa",
        "abababab",
        "xyz1xyz1xyz1",
        "iloveyou",
        "sayangku",
        "indonesia45",
        "letmein!",
        "lumbung1",
        "Lumbung2026",
        "budi.santoso",
        "budi.santoso99",
        "BUDI.SANTOSO@example.org",
        "superman1",
    ];
    for password in table {
        assert!(refused(password).is_some(), "{password} was accepted");
    }
    assert!(refused(&"x7Kq".repeat(33)).is_some(), "132 characters");
}

#[test]
fn ordinary_passwords_need_no_special_characters() {
    let table = [
        "kerbau menanduk pagar",
        "tumbukan padi sore",
        "x7kq92mfw",
        "passwordless is the future",
        "lumbung padi di tepi sawah",
        "budi.santoso rides a bicycle",
        "äöüßéèàçñ",
        "密码密碼パスワード강한",
        " leading and trailing ",
    ];
    for password in table {
        assert_eq!(refused(password), None, "{password}");
    }
    let longest: String = ('!'..='~').chain('!'..='B').collect();
    assert_eq!(longest.len(), MAX_CHARS);
    assert_eq!(refused(&longest), None);
}

#[test]
fn the_list_is_in_the_form_that_look_ups_expect() {
    for entry in include_str!("common.txt").lines() {
        assert_eq!(entry, entry.trim().to_lowercase(), "entries are trimmed and lower case");
        assert!(!entry.is_empty());
    }
    assert!(COMMON.len() > 300);
}

#[tokio::test]
async fn only_the_very_same_password_verifies() {
    let hasher = Hasher::new(Cost::TRIFLING, &Entropy::seeded(1)).unwrap();
    let long = "a".repeat(127);
    let stored = hasher.hash(&Password::new(format!("{long}b"))).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
    let verify = async |password: String| hasher.verify(&Password::new(password), Some(&stored)).await.unwrap();
    assert!(verify(format!("{long}b")).await);
    assert!(!verify(format!("{long}c")).await, "nothing is cut off");
    assert!(!verify(format!("{long}B")).await, "nothing is folded");
    assert!(!verify(format!("{long}b ")).await, "nothing is trimmed");
    let again = hasher.hash(&Password::new(format!("{long}b"))).await.unwrap();
    assert_ne!(again, stored, "every hash has its own salt");
}

#[tokio::test]
async fn no_account_is_never_verified_and_a_broken_hash_is_an_error() {
    let hasher = Hasher::new(Cost::TRIFLING, &Entropy::seeded(1)).unwrap();
    assert!(!hasher.verify(&Password::new("anything"), None).await.unwrap());
    assert!(hasher.verify(&Password::new("anything"), Some("plain")).await.is_err());
}

#[test]
fn the_decoy_costs_what_an_account_costs() {
    let hasher = Hasher::new(Cost::STANDARD, &Entropy::seeded(1)).unwrap();
    assert!(
        hasher.decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        hasher.decoy
    );
}

#[test]
fn the_queue_is_bounded_and_places_come_back() {
    let count = AtomicUsize::new(0);
    let places: Vec<_> = (0..MAX_WAITING).map(|_| Waiting::enter(&count).unwrap()).collect();
    assert!(matches!(Waiting::enter(&count), Err(Error::Busy)));
    drop(places);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(Waiting::enter(&count).is_ok());
}

#[test]
fn a_password_is_not_printed_and_a_generated_one_passes_the_rules() {
    assert_eq!(format!("{:?}", Password::new("secret")), "Password(..)");
    let generated = Password::generate(&Entropy::seeded(3));
    assert_eq!(objection(&generated, "admin@example.org"), None);
    assert_eq!(generated.expose().len(), 20);
}
