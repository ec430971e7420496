//! SQL of generated secrets. Values enter and leave this file sealed or opened for exactly one place: the row's
//! identity is the associated data, so that a ciphertext copied to another row does not open there.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Ambient;
use crate::crypto::{self, Keyring, Sealed};

fn place(instance_id: Uuid, key: &str) -> String {
    format!("instance/{instance_id}/{key}")
}

/// Stores what is not there yet; a key that has a value keeps it, or a running application would lose its database.
pub async fn insert(
    conn: &mut PgConnection,
    ambient: &Ambient,
    keyring: &Keyring,
    instance_id: Uuid,
    values: &BTreeMap<String, String>,
) -> sqlx::Result<()> {
    for (key, value) in values {
        let sealed = keyring.seal(&ambient.entropy, &place(instance_id, key), value.as_bytes());
        sqlx::query!(
            "INSERT INTO instance_secrets (instance_id, key, key_version, nonce, ciphertext)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
            instance_id,
            key,
            sealed.key_version,
            &sealed.nonce,
            sealed.ciphertext
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the secret {key} cannot be opened: {source}")]
    Sealed { key: String, source: crypto::Error },
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// All secrets of an instance, opened.
pub async fn open(
    conn: &mut PgConnection,
    keyring: &Keyring,
    instance_id: Uuid,
) -> Result<BTreeMap<String, String>, OpenError> {
    let rows = sqlx::query!(
        "SELECT key, key_version, nonce, ciphertext FROM instance_secrets WHERE instance_id = $1",
        instance_id
    )
    .fetch_all(conn)
    .await?;
    let mut values = BTreeMap::new();
    for row in rows {
        let failed = |key: &str, source| OpenError::Sealed {
            key: key.to_owned(),
            source,
        };
        let nonce = row
            .nonce
            .try_into()
            .map_err(|_| failed(&row.key, crypto::Error::Forged))?;
        let sealed = Sealed {
            key_version: row.key_version,
            nonce,
            ciphertext: row.ciphertext,
        };
        let plain = keyring
            .open(&place(instance_id, &row.key), &sealed)
            .map_err(|source| failed(&row.key, source))?;
        let plain = String::from_utf8(plain).map_err(|_| failed(&row.key, crypto::Error::Forged))?;
        values.insert(row.key, plain);
    }
    Ok(values)
}

/// Part of a finished purge.
pub async fn delete(conn: &mut PgConnection, instance_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM instance_secrets WHERE instance_id = $1", instance_id)
        .execute(conn)
        .await?;
    Ok(())
}
