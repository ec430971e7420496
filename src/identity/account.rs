//! What happens to accounts: registering, logging in and out, changing rights. Each is one transaction with its audit
//! entry; passwords are hashed before it, so that no connection waits for a core.

use std::sync::{Arc, LazyLock};

use prometheus::IntCounterVec;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::layer::Gate;
use super::origin::Origin;
use super::password::{Hasher, Password};
use super::session::{Issued, Issuer};
use super::store::{self, sessions};
use super::{Error, Principal, Role, Status, User, new_handle};
use crate::clock::Ambient;
use crate::{audit, db, events, telemetry};

/// Two random handles of 10 characters practically never meet; five in a row do not.
const HANDLE_TRIES: usize = 5;

static LOGINS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_identity_logins_total",
        "Attempts to log in, by outcome.",
        &["outcome"],
    )
});

/// What these functions work with.
#[derive(Clone)]
pub struct Accounts {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub hasher: Arc<Hasher>,
    pub issuer: Issuer,
    pub gate: Gate,
}

/// A registration; the e-mail address is normalised, the password has passed the rules.
#[derive(Debug)]
pub struct Registration<'a> {
    pub email: &'a str,
    pub password: &'a Password,
    pub name: &'a str,
}

impl Accounts {
    pub fn new(pool: PgPool, ambient: Ambient, hasher: Arc<Hasher>, issuer: Issuer) -> Self {
        let gate = Gate::new(pool.clone(), ambient.clock.clone(), issuer.signer.clone());
        Self {
            pool,
            ambient,
            hasher,
            issuer,
            gate,
        }
    }

    /// Makes a customer's account, or leaves the existing one alone. The caller cannot tell which, nor should a client.
    pub async fn register(&self, new: &Registration<'_>, origin: &Origin) -> Result<(), Error> {
        let password_hash = self.hasher.hash(new.password).await?;
        for _ in 0..HANDLE_TRIES {
            let row = store::New {
                email: new.email,
                password_hash: &password_hash,
                name: new.name,
                role: Role::Customer,
                handle: &new_handle(&self.ambient.entropy),
            };
            let mut tx = self.pool.begin().await?;
            let made = match store::insert(&mut tx, &self.ambient, &row).await {
                // The transaction is lost with the statement: once more, with another handle.
                Err(error) if db::violates(&error, "users_handle_key") => continue,
                made => made?,
            };
            let entry = if let Some(id) = made {
                events::store::open_stream(&mut tx, id).await?;
                origin.own(id, Role::Customer, "user.register", id, true, json!({}))
            } else {
                let existing = store::credentials(&mut tx, new.email).await?.map(|(id, _)| id);
                origin.stranger("user.register", existing, false, json!({"reason": "exists"}))
            };
            audit::record(&mut tx, &self.ambient, entry).await?;
            tx.commit().await?;
            return Ok(());
        }
        Err(sqlx::Error::Protocol("no free handle was found".into()).into())
    }

    /// Opens a session. An unknown address, a wrong password and their cost look the same from outside; that an account
    /// is suspended is told only to whoever knows its password.
    pub async fn log_in(&self, email: &str, password: &Password, origin: &Origin) -> Result<Issued, Error> {
        let found = store::credentials(&mut *self.pool.acquire().await?, email).await?;
        let stored = found.as_ref().map(|(_, hash)| hash.as_str());
        let genuine = self.hasher.verify(password, stored).await?;

        let mut tx = self.pool.begin().await?;
        let user = match &found {
            Some((id, _)) if genuine => store::share_user(&mut tx, *id).await?,
            _ => None,
        };
        let Some(user) = user else {
            let entry = origin.stranger(
                "user.login",
                found.map(|(id, _)| id),
                false,
                json!({"reason": "credentials"}),
            );
            audit::record(&mut tx, &self.ambient, entry).await?;
            tx.commit().await?;
            LOGINS.with_label_values(&["refused"]).inc();
            return Err(Error::InvalidCredentials);
        };
        if user.status != Status::Active {
            let entry = origin.own(
                user.id,
                user.role,
                "user.login",
                user.id,
                false,
                json!({"reason": "suspended"}),
            );
            audit::record(&mut tx, &self.ambient, entry).await?;
            tx.commit().await?;
            LOGINS.with_label_values(&["suspended"]).inc();
            return Err(Error::Suspended);
        }
        let issued = self
            .issuer
            .open(&mut tx, &self.ambient, &user, &origin.user_agent)
            .await?;
        let detail = json!({"session_id": issued.session_id});
        let entry = origin.own(user.id, user.role, "user.login", user.id, true, detail);
        audit::record(&mut tx, &self.ambient, entry).await?;
        tx.commit().await?;
        LOGINS.with_label_values(&["accepted"]).inc();
        Ok(issued)
    }

    /// Ends the caller's session.
    pub async fn log_out(&self, who: &Principal, origin: &Origin) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        if sessions::revoke(&mut tx, &self.ambient, who.session_id, sessions::Reason::Logout).await? {
            let detail = json!({"session_id": who.session_id});
            let entry = origin.by(who, "user.logout", who.user_id, true, detail);
            audit::record(&mut tx, &self.ambient, entry).await?;
        }
        tx.commit().await?;
        self.gate.end(who.session_id).await;
        Ok(())
    }

    /// Changes a role or a status and ends the account's sessions. There is always an active admin left.
    pub async fn change_rights(&self, who: &Principal, change: &RightsChange, origin: &Origin) -> Result<User, Error> {
        let mut tx = self.pool.begin().await?;
        let admins = store::lock_admins(&mut tx).await?;
        if !admins.contains(&who.user_id) {
            // Demoted on another replica, a moment ago.
            return Err(Error::InvalidToken);
        }
        let user = store::lock_user(&mut tx, change.user_id)
            .await?
            .ok_or(Error::NoSuchUser)?;
        if user.version() != change.version {
            return Err(Error::Stale);
        }
        let role = change.role.unwrap_or(user.role);
        let status = change.status.unwrap_or(user.status);
        if (role, status) == (user.role, user.status) {
            return Ok(user);
        }
        let detail = json!({
            "role": {"from": user.role, "to": role},
            "status": {"from": user.status, "to": status},
        });
        let stays_admin = (role, status) == (Role::Admin, Status::Active);
        let allowed = stays_admin || admins != [user.id];
        let entry = origin.by(who, "user.rights", user.id, allowed, detail);
        audit::record(&mut tx, &self.ambient, entry).await?;
        if !allowed {
            tx.commit().await?;
            return Err(Error::LastAdmin);
        }
        let user = store::set_rights(&mut tx, &self.ambient, user.id, role, status).await?;
        let ended = sessions::revoke_all(&mut tx, &self.ambient, user.id, sessions::Reason::Rights).await?;
        tx.commit().await?;
        for session in ended {
            self.gate.end(session).await;
        }
        Ok(user)
    }
}

/// A wish to change an account's rights, seen at `version`; what is `None` stays.
#[derive(Clone, Copy, Debug)]
pub struct RightsChange {
    pub user_id: Uuid,
    pub version: i64,
    pub role: Option<Role>,
    pub status: Option<Status>,
}
