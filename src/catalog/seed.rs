//! Brings the templates that the server was started with into the database. Safe at every start, on every replica.
//!
//! New content becomes a new version, and a version once written stays as it is. It goes on sale at once unless an
//! admin has put a version of their own on sale, or taken the service off sale: then it waits as a draft. A server
//! with older files changes nothing, because the database knows their content already.

use std::path::Path;

use sqlx::PgConnection;

use super::template::{LoadError, Template, load_dir, load_embedded};
use super::{Origin, Status, digest, store};
use crate::clock::Ambient;
use crate::db;

/// The built-in templates and those of the operator's directory, which win under the same slug.
pub fn load(dir: Option<&Path>) -> Result<Vec<Template>, LoadError> {
    let mut templates = load_embedded()?;
    for own in dir.map(load_dir).transpose()?.unwrap_or_default() {
        match templates.iter_mut().find(|template| template.slug == own.slug) {
            Some(built_in) => *built_in = own,
            None => templates.push(own),
        }
    }
    Ok(templates)
}

/// Synchronises within the caller's transaction, under the start-up lock; returns how many versions are new.
pub async fn sync(conn: &mut PgConnection, ambient: &Ambient, templates: &[Template]) -> sqlx::Result<usize> {
    db::lock(&mut *conn, db::STARTUP_LOCK).await?;
    let mut written = 0;
    for template in templates {
        let versions = store::lock_versions(&mut *conn, &template.slug).await?;
        let digest = digest(template);
        if versions.iter().any(|version| version.digest == digest) {
            continue;
        }
        let number = versions.last().map_or(1, |latest| latest.version + 1);
        let id = store::insert(&mut *conn, ambient, template, number, Origin::File).await?;
        let ours_is_on_sale = versions
            .iter()
            .any(|version| version.status == Status::Published && version.origin == Origin::File);
        let publish = versions.is_empty() || ours_is_on_sale;
        if publish {
            store::publish(&mut *conn, &template.slug, id, ambient.now()).await?;
        }
        tracing::info!(
            service = template.slug,
            version = number,
            published = publish,
            "service template brought in"
        );
        written += 1;
    }
    Ok(written)
}
