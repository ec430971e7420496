//! Templates of what was sold. A version never changes once written, so what was read once is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::catalog;
use crate::catalog::template::Template;

#[derive(Clone, Debug, Default)]
pub struct Templates(Arc<Mutex<HashMap<Uuid, Arc<Template>>>>);

impl Templates {
    pub async fn of(&self, conn: &mut PgConnection, service_id: Uuid) -> sqlx::Result<Arc<Template>> {
        if let Some(known) = self.map().get(&service_id) {
            return Ok(known.clone());
        }
        let template = catalog::store::template_by_service_id(conn, service_id)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        self.map().insert(service_id, template.clone());
        Ok(template)
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Template>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
