//! The server's keys: where they come from, and the promise that they fit the database.
//!
//! Beside the embedded database they are generated into the state directory. Elsewhere both are given as files. Their
//! fingerprints stand in the database; a server that comes with others refuses to start, since it could neither open
//! customers' credentials nor honour tokens that are still valid.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use sqlx::PgConnection;

use crate::clock::Ambient;
use crate::config;
use crate::crypto::{Keyring, MasterKey};
use crate::db::{self, embedded::write_private};
use crate::identity::tokens;

/// Everything secret that the server itself holds.
#[derive(Clone, Debug)]
pub struct Keys {
    pub sealing: Keyring,
    pub signing: Vec<tokens::Key>,
}

impl Keys {
    /// From the given files.
    pub fn load(signing: &Path, sealing: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        Ok(Self {
            signing: tokens::keys_from_pem(&read(signing)?)
                .with_context(|| format!("{} must hold Ed25519 private keys in PKCS#8 PEM", signing.display()))?,
            sealing: parse_keyring(&read(sealing)?).with_context(|| format!("in {}", sealing.display()))?,
        })
    }

    /// From the directory, generating what is missing.
    pub fn load_or_generate(dir: &Path, ambient: &Ambient) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let (signing, sealing) = (dir.join("signing.pem"), dir.join("encryption.keys"));
        if !signing.exists() {
            write_private(&signing, &tokens::generate(&ambient.entropy).to_pem())?;
        }
        if !sealing.exists() {
            let (_, hex) = MasterKey::generate(1, &ambient.entropy);
            write_private(&sealing, &format!("1:{hex}\n"))?;
        }
        Self::load(&signing, &sealing)
    }

    /// As the settings say: given files, or generated beside the embedded database.
    pub fn from_config(keys: &config::Keys, state_dir: &Path, ambient: &Ambient) -> anyhow::Result<Self> {
        match (&keys.signing_key_file, &keys.encryption_key_file) {
            (Some(signing), Some(sealing)) => Self::load(signing, sealing),
            (None, None) => Self::load_or_generate(&state_dir.join("keys"), ambient),
            _ => bail!("give both --signing-key-file and --encryption-key-file, or neither"),
        }
    }

    /// Generated for one process only: tests.
    pub fn ephemeral(ambient: &Ambient) -> Self {
        let (key, _) = MasterKey::generate(1, &ambient.entropy);
        let sealing = Keyring::new(vec![key]).expect("one key is a keyring");
        Self {
            sealing,
            signing: vec![tokens::generate(&ambient.entropy)],
        }
    }

    /// Holds the keys against the database's record; a first start writes it, an added version is added.
    pub async fn verify(&self, conn: &mut PgConnection, ambient: &Ambient) -> anyhow::Result<()> {
        let mut tx = sqlx::Connection::begin(conn).await?;
        db::lock(&mut tx, db::STARTUP_LOCK).await?;
        let sealing = self.sealing.keys().iter().map(|key| (key.version(), key.fingerprint()));
        agree(&mut tx, ambient, "encryption", sealing.collect()).await?;
        // A signing key's id is a digest of its public half. It has no version: the order in the file gives one.
        let signing = (1..).zip(self.signing.iter().map(|key| key.id().to_owned()));
        agree(&mut tx, ambient, "signing", signing.collect()).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn agree(
    conn: &mut PgConnection,
    ambient: &Ambient,
    purpose: &str,
    have: Vec<(i32, String)>,
) -> anyhow::Result<()> {
    let recorded = sqlx::query!(
        "SELECT version, fingerprint FROM key_fingerprints WHERE purpose = $1 ORDER BY version",
        purpose
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in &recorded {
        match have.iter().find(|(version, _)| *version == row.version) {
            Some((_, fingerprint)) if *fingerprint == row.fingerprint => {}
            Some(_) => bail!(
                "{purpose} key {} is not the one that this database was made with; start with the right key file",
                row.version
            ),
            None => bail!(
                "this database was used with {purpose} key {}, which is missing; keep old keys in the key file and add new ones",
                row.version
            ),
        }
    }
    for (version, fingerprint) in have
        .iter()
        .filter(|(version, _)| recorded.iter().all(|row| row.version != *version))
    {
        sqlx::query!(
            "INSERT INTO key_fingerprints (purpose, version, fingerprint, created_at) VALUES ($1, $2, $3, $4)",
            purpose,
            version,
            fingerprint,
            ambient.now() as _
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn parse_keyring(text: &str) -> anyhow::Result<Keyring> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines
        .enumerate()
        .map(|(n, line)| {
            let (version, hex) = line
                .split_once(':')
                .with_context(|| format!("key {} is not version:hex", n + 1))?;
            let version = version.trim().parse::<i32>().ok().filter(|version| *version > 0);
            let version = version.with_context(|| format!("key {} has no positive version", n + 1))?;
            MasterKey::from_hex(version, hex).with_context(|| format!("key version {version}"))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Keyring::new(keys).context("there must be at least one key, and every version once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_says_what_is_wrong_with_it() {
        let hex = "ab".repeat(32);
        assert_eq!(
            parse_keyring(&format!("# old\n1:{hex}\n\n2:{hex}\n"))
                .unwrap()
                .newest()
                .version(),
            2
        );
        for (text, says) in [
            (String::new(), "at least one key"),
            (format!("1:{hex}\n1:{hex}"), "every version once"),
            (hex.clone(), "not version:hex"),
            (format!("0:{hex}"), "positive version"),
            ("1:ab".to_owned(), "key version 1"),
        ] {
            let error = format!("{:#}", parse_keyring(&text).unwrap_err());
            assert!(error.contains(says), "{error}");
            assert!(!error.contains(&hex), "an error must not print a key");
        }
    }
}
