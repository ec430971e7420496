//! Who is calling. A layer in front of the API reads the bearer token and leaves a [`Caller`] with the request;
//! handlers name in their signature whom they serve: [`Customer`] (anyone signed in), [`Staff`], [`Admin`].

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit;
use crate::clock::Ambient;
use crate::http::problem::{Kind, Problem, request_id};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and changes what is their own.
    Customer,
    /// Sees everything, changes little.
    Support,
    /// Sees and changes everything.
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Customer, Self::Support, Self::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// A verified caller.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub role: Role,
}

/// What the authentication layer found; put into the request's extensions.
#[derive(Clone, Debug)]
pub enum Caller {
    Anonymous,
    /// A token was sent and is not valid.
    Refused,
    Known(Principal),
}

impl Principal {
    fn of(parts: &Parts) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(Caller::Known(principal)) => Ok(principal.clone()),
            Some(Caller::Refused) => Err(Problem::new(Kind::InvalidToken)),
            Some(Caller::Anonymous) | None => Err(Problem::new(Kind::Unauthenticated)),
        }
    }

    fn at_least(parts: &Parts, role: Role) -> Result<Self, Problem> {
        let principal = Self::of(parts)?;
        if principal.role < role {
            tracing::info!(user_id = %principal.user_id, role = principal.role.name(), "role refused");
            return Err(Problem::new(Kind::Forbidden));
        }
        Ok(principal)
    }
}

impl Principal {
    /// Staff's hand on what belongs to somebody else leaves a trace, in the transaction of the deed; an owner's own does
    /// not. `subject` is the kind and id of what was touched.
    pub async fn trace(
        &self,
        conn: &mut PgConnection,
        ambient: &Ambient,
        owner: Uuid,
        action: &str,
        subject: (&str, Uuid),
    ) -> sqlx::Result<()> {
        if self.user_id == owner {
            return Ok(());
        }
        let request_id = request_id();
        let entry = audit::Entry {
            actor: Some(self.user_id),
            role: self.role.name(),
            action,
            subject: subject.0,
            subject_id: Some(subject.1),
            allowed: true,
            request_id: request_id.as_deref(),
            detail: json!({"owner": owner}),
        };
        audit::record(conn, ambient, entry).await
    }
}

macro_rules! requires {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Principal);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;
            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                Principal::at_least(parts, $role).map(Self)
            }
        }
    };
}

requires!(
    /// Anyone signed in, acting on what is their own.
    Customer, Role::Customer
);
requires!(
    /// Support or admin.
    Staff, Role::Support
);
requires!(
    /// Admin only.
    Admin, Role::Admin
);
