//! The overcommit policy in force: the highest version of a table that only grows.
//!
//! Every replica decides by the same one, since it is part of the snapshot that decisions are made on. A server that starts with
//! other settings than those in force puts its own in force; whoever started last has said what is wanted.

use placement::{Policy, PolicySpec, Reserve};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::clock::Ambient;
use crate::{config, db};

/// A policy under its version, which is recorded with every placement that it made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    pub version: i32,
    pub policy: Policy,
}

/// Who wants a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A server's settings.
    Configuration,
    Admin(Uuid),
}

/// The settings as the engine's policy, if they are one.
pub fn configured(capacity: &config::Capacity) -> Result<Policy, String> {
    let whole = |ratio: f64| i64::try_from(config::ppm(ratio)).unwrap_or(i64::MAX);
    let spec = PolicySpec {
        cpu_overcommit_ppm: whole(capacity.cpu_oversubscription),
        mem_overcommit_ppm: whole(capacity.memory_oversubscription),
        reserve: match capacity.reserve {
            config::Reserve::NPlusOne => Reserve::NPlusOne,
            config::Reserve::Fraction(fraction) => match whole(fraction) {
                0 => Reserve::None,
                fraction => Reserve::FractionPpm(fraction),
            },
        },
        ..PolicySpec::default()
    };
    Policy::new(spec).map_err(|error| error.to_string())
}

/// A policy that this version of the server cannot read is an error: to decide by an older one would break promises
/// that were made under the newer.
pub async fn in_force(conn: &mut PgConnection) -> Result<InForce, Error> {
    let row = sqlx::query!("SELECT version, spec FROM placement_policies ORDER BY version DESC LIMIT 1")
        .fetch_optional(conn)
        .await?;
    let row = row.ok_or_else(|| Error::Inconsistent("no placement policy is in force".into()))?;
    let policy = serde_json::from_value(row.spec)
        .map_err(|error| Error::Inconsistent(format!("placement policy {} cannot be read: {error}", row.version)))?;
    Ok(InForce {
        version: row.version,
        policy,
    })
}

/// Puts a policy in force, unless it is already. It takes the placement lock: whatever is decided after the commit is
/// decided by it.
pub async fn put_in_force(
    conn: &mut PgConnection,
    ambient: &Ambient,
    policy: &Policy,
    author: Author,
) -> Result<InForce, Error> {
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    match in_force(conn).await {
        Ok(present) if present.policy == *policy => return Ok(present),
        // None yet, or one that cannot be read.
        Ok(_) | Err(Error::Inconsistent(_)) => {}
        Err(error) => return Err(error),
    }
    let (cause, created_by) = match author {
        Author::Configuration => ("configuration", None),
        Author::Admin(id) => ("admin", Some(id)),
    };
    let spec = serde_json::to_value(policy).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let version = sqlx::query_scalar!(
        r#"INSERT INTO placement_policies (version, spec, cause, created_by, created_at)
           SELECT coalesce(max(version), 0) + 1, $1, $2, $3, $4 FROM placement_policies
           RETURNING version"#,
        spec,
        cause,
        created_by,
        ambient.now() as _
    )
    .fetch_one(conn)
    .await?;
    tracing::info!(policy_version = version, cause, "a placement policy is put in force");
    Ok(InForce {
        version,
        policy: *policy,
    })
}

/// At the start of a server: its settings are what is wanted.
pub async fn follow(conn: &mut PgConnection, ambient: &Ambient, capacity: &config::Capacity) -> Result<InForce, Error> {
    let wanted = configured(capacity).map_err(Error::Inconsistent)?;
    // Without the lock: a server that starts again with the same settings makes nobody wait.
    match in_force(conn).await {
        Ok(present) if present.policy == wanted => Ok(present),
        _ => put_in_force(conn, ambient, &wanted, Author::Configuration).await,
    }
}
