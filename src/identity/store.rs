//! SQL of accounts. That of their sessions is in [`sessions`].

pub mod sessions;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Role, Status, User};
use crate::clock::{Ambient, Time};
use crate::http::page::Window;

struct Row {
    id: Uuid,
    email: String,
    name: String,
    role: String,
    status: String,
    handle: String,
    auth_version: i64,
    created_at: Time,
    updated_at: Time,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
            // The table's CHECK knows the same roles; one that we do not know has the least rights.
            role: Role::parse(&row.role).unwrap_or(Role::Customer),
            status: Status::parse(&row.status),
            handle: row.handle,
            created_at: row.created_at,
            updated_at: row.updated_at,
            auth_version: row.auth_version,
        }
    }
}

/// A new account.
#[derive(Clone, Debug)]
pub struct New<'a> {
    pub email: &'a str,
    pub password_hash: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub handle: &'a str,
}

/// `None` when the e-mail address is taken. A taken handle is an error on `users_handle_key`.
pub async fn insert(conn: &mut PgConnection, ambient: &Ambient, new: &New<'_>) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "INSERT INTO users (id, email, password_hash, name, role, handle, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (email) DO NOTHING
         RETURNING id",
        ambient.new_id(),
        new.email,
        new.password_hash,
        new.name,
        new.role.name(),
        new.handle,
        ambient.now() as _,
    )
    .fetch_optional(conn)
    .await
}

pub async fn user_by_id(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, email, name, role, status, handle, auth_version, created_at, updated_at
           FROM users
          WHERE id = $1",
        id
    );
    Ok(row.fetch_optional(conn).await?.map(User::from))
}

/// The account as it will still be when the transaction ends: nobody changes its rights meanwhile.
pub async fn share_user(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, email, name, role, status, handle, auth_version, created_at, updated_at
           FROM users
          WHERE id = $1
            FOR SHARE",
        id
    );
    Ok(row.fetch_optional(conn).await?.map(User::from))
}

pub async fn lock_user(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, email, name, role, status, handle, auth_version, created_at, updated_at
           FROM users
          WHERE id = $1
            FOR UPDATE",
        id
    );
    Ok(row.fetch_optional(conn).await?.map(User::from))
}

/// Id and password hash of the account with this (normalised) address.
pub async fn credentials(conn: &mut PgConnection, email: &str) -> sqlx::Result<Option<(Uuid, String)>> {
    let row = sqlx::query!("SELECT id, password_hash FROM users WHERE email = $1", email);
    Ok(row.fetch_optional(conn).await?.map(|row| (row.id, row.password_hash)))
}

/// What a list of accounts is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    pub role: Option<Role>,
    pub status: Option<Status>,
    pub email: Option<&'a str>,
}

/// Newest first.
pub async fn page(conn: &mut PgConnection, filter: &Filter<'_>, window: &Window) -> sqlx::Result<Vec<User>> {
    let (before, before_id) = window.bound();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, email, name, role, status, handle, auth_version, created_at, updated_at
           FROM users
          WHERE (created_at, id) < ($1, $2)
            AND ($3::text IS NULL OR role = $3)
            AND ($4::text IS NULL OR status = $4)
            AND ($5::text IS NULL OR email = $5)
          ORDER BY created_at DESC, id DESC
          LIMIT $6",
        before as _,
        before_id,
        filter.role.map(Role::name),
        filter.status.map(Status::name),
        filter.email,
        window.fetch(),
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(User::from).collect())
}

/// `None` when the account is not at `version` any more.
pub async fn rename(
    conn: &mut PgConnection,
    ambient: &Ambient,
    id: Uuid,
    version: Time,
    name: &str,
) -> sqlx::Result<Option<User>> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE users
            SET name = $3, updated_at = GREATEST($4, updated_at + interval '1 microsecond')
          WHERE id = $1 AND updated_at = $2
         RETURNING id, email, name, role, status, handle, auth_version, created_at, updated_at",
        id,
        version as _,
        name,
        ambient.now() as _,
    );
    Ok(row.fetch_optional(conn).await?.map(User::from))
}

/// Locks the active admins: whoever changes one of them decides on a number that stays true until the commit.
pub async fn lock_admins(conn: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("SELECT id FROM users WHERE role = 'admin' AND status = 'active' ORDER BY id FOR UPDATE")
        .fetch_all(conn)
        .await
}

/// Tokens that were signed before are refused from now on.
pub async fn set_rights(
    conn: &mut PgConnection,
    ambient: &Ambient,
    id: Uuid,
    role: Role,
    status: Status,
) -> sqlx::Result<User> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE users
            SET role = $2, status = $3, auth_version = auth_version + 1,
                updated_at = GREATEST($4, updated_at + interval '1 microsecond')
          WHERE id = $1
         RETURNING id, email, name, role, status, handle, auth_version, created_at, updated_at",
        id,
        role.name(),
        status.name(),
        ambient.now() as _,
    );
    Ok(row.fetch_one(conn).await?.into())
}
