//! What API requests and watches meet instead of an orderly answer.

use std::{sync::PoisonError, time::Duration};

use rand::RngExt;
use tokio::sync::watch;

use super::Faults;

/// What an API request meets instead of, before or after its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// The request waits, then is served.
    Latency(Duration),
    /// The request is refused with this code (such as 409, 429, 500, 503); nothing happens.
    Status(u16),
    /// The request is done, and then answered with this code: the client cannot tell that it took effect.
    StatusAfterEffect(u16),
    /// A watch is opened and cut at once.
    DropWatch,
}

/// When a rule about API requests applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// To the next so many matching requests, then the rule is gone.
    Next(usize),
    /// To each matching request with this chance in parts per million, until `clear_api`.
    Chance { ppm: u32 },
}

/// A rule about API requests; `None` matches everything.
#[derive(Clone, Debug)]
pub struct ApiRule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: Option<String>,
    /// The plural name, such as `statefulsets`.
    pub resource: Option<String>,
    pub namespace: Option<String>,
    pub when: When,
    pub fault: ApiFault,
}

impl Faults {
    /// The next `times` requests with this verb and resource (`*` for any) meet `fault`.
    pub fn inject_api(&self, verb: &str, resource: &str, times: usize, fault: ApiFault) {
        let unless_any = |text: &str| (text != "*").then(|| text.to_owned());
        let (verb, resource) = (unless_any(verb), unless_any(resource));
        self.add_api_rule(ApiRule { verb, resource, namespace: None, when: When::Next(times), fault });
    }

    /// Adds a rule; the first rule that applies to a request wins.
    pub fn add_api_rule(&self, rule: ApiRule) {
        if rule.when != When::Next(0) {
            self.state().api.push(rule);
        }
    }

    /// Drops all rules about API requests.
    pub fn clear_api(&self) {
        self.state().api.clear();
    }

    /// The fault that this request meets, if any. `resource` is the plural name.
    pub fn api(
        &self,
        verb: &str,
        _group: &str,
        resource: &str,
        ns: Option<&str>,
        _name: Option<&str>,
    ) -> Option<ApiFault> {
        let mut state = self.state();
        if state.api.is_empty() {
            return None;
        }
        let wanted = |rule: &ApiRule| {
            rule.verb.as_deref().is_none_or(|v| v == verb)
                && rule.resource.as_deref().is_none_or(|r| r == resource)
                && rule.namespace.as_deref().is_none_or(|n| ns == Some(n))
                && (rule.fault != ApiFault::DropWatch || verb == "watch")
                && match rule.when {
                    When::Next(_) => true,
                    When::Chance { ppm } => self.draw_ppm() < ppm,
                }
        };
        let at = state.api.iter().position(wanted)?;
        let fault = state.api[at].fault.clone();
        if let When::Next(left) = &mut state.api[at].when {
            *left -= 1;
            if *left == 0 {
                state.api.remove(at);
            }
        }
        Some(fault)
    }

    fn draw_ppm(&self) -> u32 {
        self.0.rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1_000_000)
    }

    /// Cuts every open watch.
    pub fn drop_watches(&self) {
        self.0.watch_epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Moves whenever all open watches are to be cut.
    pub fn watch_epoch(&self) -> watch::Receiver<u64> {
        self.0.watch_epoch.subscribe()
    }

    /// Forgets the past once the engine has noticed (`settle`): a watch that resumes from an older resourceVersion is
    /// told 410 Expired.
    pub fn expire_watch_history(&self) {
        self.change(|s| s.expire_history = true);
    }

    /// Whether the watch history is to be forgotten; asking answers once.
    pub(crate) fn take_expired_history(&self) -> bool {
        std::mem::take(&mut self.state().expire_history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_rule_is_used_up_and_a_chance_follows_the_seed() {
        let faults = Faults::seeded(7);
        faults.inject_api("create", "pods", 2, ApiFault::Status(500));
        assert_eq!(faults.api("get", "", "pods", None, None), None);
        assert_eq!(faults.api("create", "", "pods", None, None), Some(ApiFault::Status(500)));
        assert_eq!(faults.api("create", "", "pods", None, None), Some(ApiFault::Status(500)));
        assert_eq!(faults.api("create", "", "pods", None, None), None);

        let draws = |seed| {
            let faults = Faults::seeded(seed);
            let when = When::Chance { ppm: 500_000 };
            let fault = ApiFault::Status(503);
            faults.add_api_rule(ApiRule { verb: None, resource: None, namespace: None, when, fault });
            (0..64).map(|_| faults.api("get", "", "pods", None, None).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert!(draws(1).contains(&true) && draws(1).contains(&false));
    }
}
