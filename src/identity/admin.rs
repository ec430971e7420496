//! The first admin, made from the command line: whoever may run it has the database and the keys anyhow.
//!
//! Idempotent: an admin who exists already is left alone, password included. A customer or a support member with that
//! address becomes admin only when the operator says so, and has to log in again.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::password::{Hasher, Password, objection};
use super::store::{self, sessions};
use super::{Role, Status, new_handle, normal_email};
use crate::audit;
use crate::clock::Ambient;
use crate::events;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not an e-mail address")]
    Email(String),
    #[error("the password {0}")]
    Weak(String),
    #[error("{0} exists and is not an admin; say --promote to make it one")]
    NotAnAdmin(String),
    #[error("{0} is suspended; another admin has to lift that first")]
    Suspended(String),
    #[error(transparent)]
    Password(#[from] super::password::Error),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new account; with the password if it was generated, to be shown once.
    Created {
        user_id: Uuid,
        generated: Option<Password>,
    },
    Promoted {
        user_id: Uuid,
    },
    AlreadyAdmin {
        user_id: Uuid,
    },
}

/// `password`: `None` has one generated. `promote`: an existing account may become admin.
pub async fn create_admin(
    pool: &PgPool,
    ambient: &Ambient,
    hasher: &Hasher,
    email: &str,
    password: Option<Password>,
    promote: bool,
) -> Result<Outcome, Error> {
    let email = normal_email(email).ok_or_else(|| Error::Email(email.to_owned()))?;
    if let Some(objection) = password.as_ref().and_then(|password| objection(password, &email)) {
        return Err(Error::Weak(objection));
    }
    let generated = password.is_none().then(|| Password::generate(&ambient.entropy));
    let password_hash = match password.as_ref().or(generated.as_ref()) {
        Some(password) => hasher.hash(password).await?,
        None => unreachable!("one of the two was given"),
    };

    let mut tx = pool.begin().await?;
    let new = store::New {
        email: &email,
        password_hash: &password_hash,
        name: "",
        role: Role::Admin,
        handle: &new_handle(&ambient.entropy),
    };
    let outcome = if let Some(user_id) = store::insert(&mut tx, ambient, &new).await? {
        events::store::open_stream(&mut tx, user_id).await?;
        Outcome::Created { user_id, generated }
    } else {
        let (user_id, _) = store::credentials(&mut tx, &email)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        let user = store::lock_user(&mut tx, user_id)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        match (user.status, user.role) {
            (Status::Suspended, _) => return Err(Error::Suspended(email)),
            (Status::Active, Role::Admin) => return Ok(Outcome::AlreadyAdmin { user_id }),
            (Status::Active, Role::Customer | Role::Support) if !promote => return Err(Error::NotAnAdmin(email)),
            (Status::Active, Role::Customer | Role::Support) => {
                store::set_rights(&mut tx, ambient, user_id, Role::Admin, Status::Active).await?;
                sessions::revoke_all(&mut tx, ambient, user_id, sessions::Reason::Rights).await?;
                Outcome::Promoted { user_id }
            }
        }
    };
    let (action, user_id) = match &outcome {
        Outcome::Created { user_id, .. } => ("user.register", *user_id),
        Outcome::Promoted { user_id } | Outcome::AlreadyAdmin { user_id } => ("user.rights", *user_id),
    };
    let entry = audit::Entry {
        actor: None,
        role: "system",
        action,
        subject: "user",
        subject_id: Some(user_id),
        allowed: true,
        request_id: None,
        detail: json!({"role": {"to": Role::Admin}, "from": "command line"}),
    };
    audit::record(&mut tx, ambient, entry).await?;
    tx.commit().await?;
    Ok(outcome)
}
