//! After the faults: the platform comes to rest by itself, as everybody wanted, with every rule kept.

use std::time::Duration;

use lumbung::clock::Time;
use lumbung_tests::invariants;

use super::world::{Order, PRICED, World};

const DAY: Duration = Duration::from_hours(24);
/// Real time: the simulated kubelets' waits are real, if short.
const PATIENCE: Duration = Duration::from_mins(1);
/// How far the platform's clock goes between two looks.
const PACE: Duration = Duration::from_secs(15);

/// How an order stands.
#[derive(Debug, sqlx::FromRow)]
struct Standing {
    subscription: String,
    status: String,
    cancel_reason: Option<String>,
    created_at: Time,
    phase: String,
    reason: String,
    wanted: String,
    up_to_date: bool,
}

impl World {
    /// Mends everything, waits for the rest, and holds all rules against it.
    pub async fn rest(&mut self) {
        self.mend();
        self.history.add("everything is mended");
        let coming = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            loop {
                self.app.try_settle().await.expect("nothing hinders the tasks");
                let wrong = self.unsettled().await;
                let done = wrong.is_empty();
                self.history.look(wrong);
                if done {
                    return;
                }
                self.app.advance(PACE);
                pause.tick().await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, coming).await.is_ok();
        if !came {
            let told = self.told().await;
            panic!("the platform does not come to rest as it should; of what is wrong was told:\n{told}");
        }
        let broken = invariants::broken(&self.app.db.pool, &self.app.kube).await;
        self.history.look(broken.clone());
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// Everything that is not as it should be in the end.
    async fn unsettled(&self) -> Vec<String> {
        let standings: Vec<Standing> = sqlx::query_as(
            "SELECT s.id::text AS subscription, s.status, s.cancel_reason, s.created_at, i.phase, i.reason, i.wanted,
                    i.observed_generation >= i.generation AS up_to_date
               FROM subscriptions s JOIN service_instances i ON i.subscription_id = s.id",
        )
        .fetch_all(&self.app.db.pool)
        .await
        .expect("how the orders stand");
        let mut wrong = Vec::new();
        if standings.len() != self.orders.len() {
            wrong.push(format!(
                "{} orders were accepted, and {} stand",
                self.orders.len(),
                standings.len()
            ));
        }
        for order in &self.orders {
            match standings
                .iter()
                .find(|standing| standing.subscription == order.subscription)
            {
                Some(standing) if self.is_right(order, standing) => {}
                found => wrong.push(format!("{order:?}: {found:?}")),
            }
        }
        wrong
    }

    /// What was said, from the beginning, of the instances that are not as they should be.
    async fn told(&self) -> String {
        let wrong = self.unsettled().await.concat();
        let all: Vec<(String, String)> = sqlx::query_as(
            "SELECT payload->>'instance_id', concat_ws(' ', occurred_at, payload->>'phase', payload->>'reason', payload->>'message')
               FROM events WHERE type = 'instance.phase_changed' ORDER BY position",
        )
        .fetch_all(&self.app.db.pool)
        .await
        .expect("the events");
        let of_wrong = all.into_iter().filter(|(instance, _)| wrong.contains(instance));
        let lines: Vec<String> = of_wrong.map(|(instance, said)| format!("{instance} {said}")).collect();
        lines.join("\n")
    }

    fn is_right(&self, order: &Order, standing: &Standing) -> bool {
        let age = self.app.ambient.now().since(standing.created_at);
        let cannot_run = Some(order.offer.0) == self.broken;
        let justified = match (standing.status.as_str(), standing.cancel_reason.as_deref()) {
            ("active", None) => !order.cancelled_now,
            ("pending", None) | ("cancelled", Some("unpaid")) => order.offer == PRICED,
            ("expired", None) => !order.cancelled_now && age >= 30 * DAY,
            ("cancelled", Some("customer")) => order.cancelled_now,
            ("cancelled", Some("period_end")) => order.cancelled_at_end && age >= 30 * DAY,
            ("cancelled", Some("grace_over")) => age >= 60 * DAY,
            ("cancelled", Some("never_ready")) => cannot_run,
            _ => false,
        };
        let (phase, reason) = (standing.phase.as_str(), standing.reason.as_str());
        let stands = match (standing.status.as_str(), order.wanted) {
            ("active", "running") if cannot_run => (phase, reason) == ("failed", "image_pull_failed"),
            ("active", wanted) => phase == wanted,
            ("pending", _) => phase == "pending",
            ("expired", _) => phase == "stopped",
            _ => phase == "deleted",
        };
        let wanted = standing.wanted == order.wanted || standing.status == "cancelled";
        justified && stands && wanted && (standing.up_to_date || phase == "pending")
    }
}
