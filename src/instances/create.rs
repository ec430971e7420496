//! A new instance: its host, its name, its row in the customer's namespace, its secrets.
//!
//! Part of the order's transaction, under the placement lock. The instance comes to be unentitled and not due: nothing
//! of it exists in the cluster until it is paid for.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, store};
use crate::catalog::template::{self, Inputs, SecretSpec, Template};
use crate::clock::Ambient;
use crate::crypto::Keyring;

/// What is ordered. `inputs` have been validated against the template.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    pub user_id: Uuid,
    /// The customer's handle: the first label of the host.
    pub handle: &'a str,
    pub subscription_id: Uuid,
    pub service_id: Uuid,
    pub plan_id: Uuid,
    pub template: &'a Template,
    pub inputs: &'a Inputs,
    pub base_domain: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub instance_id: Uuid,
    pub host: String,
    pub generation: i64,
}

/// The caller holds the placement lock, so that two orders of one customer cannot choose the same number.
pub async fn create(
    conn: &mut PgConnection,
    ambient: &Ambient,
    keyring: &Keyring,
    new: New<'_>,
) -> Result<Created, Error> {
    let namespace_id = store::namespaces::ensure(conn, ambient, new.user_id, new.handle)
        .await?
        .ok_or(Error::NoRegion)?;
    let taken = taken_hosts(conn, new.user_id).await?;
    let (host, name) = allocate(new.handle, &new.template.slug, new.base_domain, &taken);
    let instance_id = ambient.new_id();
    let inputs = serde_json::to_value(new.inputs).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "INSERT INTO service_instances (id, user_id, subscription_id, namespace_id, service_id, plan_id, name, host, inputs,
                                        created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        instance_id,
        new.user_id,
        new.subscription_id,
        namespace_id,
        new.service_id,
        new.plan_id,
        name,
        host,
        inputs,
        ambient.now() as _
    )
    .execute(&mut *conn)
    .await?;
    let secrets = generate(ambient, &random_ones(new.template), &BTreeMap::new())?;
    store::secrets::insert(conn, ambient, keyring, instance_id, &secrets).await?;
    Ok(Created {
        instance_id,
        host,
        generation: 1,
    })
}

/// Hosts of this customer that something may still be behind.
async fn taken_hosts(conn: &mut PgConnection, user_id: Uuid) -> sqlx::Result<BTreeSet<String>> {
    let hosts = sqlx::query_scalar!(
        "SELECT host FROM service_instances WHERE user_id = $1 AND deleted_at IS NULL",
        user_id
    )
    .fetch_all(conn)
    .await?;
    Ok(hosts.into_iter().collect())
}

/// Host and object name under the lowest free number; the first instance of a service carries none.
fn allocate(handle: &str, slug: &str, base_domain: &str, taken: &BTreeSet<String>) -> (String, String) {
    let candidate = |number: usize| match number {
        1 => (format!("{handle}.{slug}.{base_domain}"), slug.to_owned()),
        _ => (
            format!("{handle}-{number}.{slug}.{base_domain}"),
            format!("{slug}-{number}"),
        ),
    };
    let mut number = 1;
    loop {
        let (host, name) = candidate(number);
        if !taken.contains(&host) {
            return (host, name);
        }
        number += 1;
    }
}

/// Hashes cost tens of milliseconds each, too long under the placement lock: those are made by the first reconcile.
fn random_ones(template: &Template) -> Vec<SecretSpec> {
    let random = |spec: &&SecretSpec| spec.generator.derived_from().is_none();
    template.secrets.iter().filter(random).cloned().collect()
}

/// Values for `specs`; what is in `kept` stays as it is. Hashing is slow: not on an async thread with hashes among them.
pub(super) fn generate(
    ambient: &Ambient,
    specs: &[SecretSpec],
    kept: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, template::GenerateError> {
    template::generate(specs, kept, &ambient.entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let base = "apps.example.org";
        let mut taken = BTreeSet::new();
        let next = |taken: &mut BTreeSet<String>| {
            let (host, name) = allocate("kf3a9x2b", "n8n", base, taken);
            taken.insert(host.clone());
            (host, name)
        };
        assert_eq!(next(&mut taken), ("kf3a9x2b.n8n.apps.example.org".into(), "n8n".into()));
        assert_eq!(
            next(&mut taken),
            ("kf3a9x2b-2.n8n.apps.example.org".into(), "n8n-2".into())
        );
        assert_eq!(
            next(&mut taken),
            ("kf3a9x2b-3.n8n.apps.example.org".into(), "n8n-3".into())
        );
        taken.remove("kf3a9x2b-2.n8n.apps.example.org");
        assert_eq!(next(&mut taken).1, "n8n-2");
        assert_eq!(allocate("kf3a9x2b", "ghost", base, &taken).1, "ghost");
    }

    #[test]
    fn hashes_are_left_to_the_reconciler_and_match_then() {
        let n8n = template::load_embedded()
            .unwrap()
            .into_iter()
            .find(|t| t.slug == "n8n")
            .unwrap();
        let ambient = Ambient::system();
        let first = generate(&ambient, &random_ones(&n8n), &BTreeMap::new()).unwrap();
        assert!(first.contains_key("owner_password") && !first.contains_key("owner_password_hash"));
        let all = generate(&ambient, &n8n.secrets, &first).unwrap();
        assert_eq!(all["owner_password"], first["owner_password"]);
        assert!(bcrypt::verify(&all["owner_password"], &all["owner_password_hash"]).unwrap());
    }
}
