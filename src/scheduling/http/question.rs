//! A hypothetical service: a plan's, or a size in numbers.

use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::http::extract::Validate;
use crate::http::problem::{FieldError, Problem, Result};
use crate::scheduling::{Demand, Scheduler, read};

/// Far above any machine, far below where the arithmetic would end: 1024 CPUs, 16 TiB, 1 PiB.
pub(super) const MOST_CPU_MILLI: i32 = 1_024_000;
pub(super) const MOST_MEM_MIB: i32 = 16 * 1024 * 1024;
pub(super) const MOST_DISK_MIB: i32 = 1024 * 1024 * 1024;

/// Either `plan_id`, or `cpu_request_milli` and `mem_request_mib` with whatever else matters.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[schema(as = HypotheticalService)]
pub(super) struct Asked {
    /// A plan of a service.
    pub plan_id: Option<Uuid>,
    #[schema(minimum = 1, maximum = 1_024_000)]
    #[param(minimum = 1, maximum = 1_024_000)]
    pub cpu_request_milli: Option<i32>,
    /// The request, unless told.
    #[schema(minimum = 1, maximum = 1_024_000)]
    #[param(minimum = 1, maximum = 1_024_000)]
    pub cpu_limit_milli: Option<i32>,
    #[schema(minimum = 1, maximum = 16_777_216)]
    #[param(minimum = 1, maximum = 16_777_216)]
    pub mem_request_mib: Option<i32>,
    /// The request, unless told.
    #[schema(minimum = 1, maximum = 16_777_216)]
    #[param(minimum = 1, maximum = 16_777_216)]
    pub mem_limit_mib: Option<i32>,
    /// None, unless told.
    #[schema(minimum = 0, maximum = 1_073_741_824)]
    #[param(minimum = 0, maximum = 1_073_741_824)]
    pub disk_mib: Option<i32>,
    /// The worker node where its data lies, if that cannot move.
    pub volume_node_id: Option<Uuid>,
}

impl Validate for Asked {
    fn validate(&self) -> Vec<FieldError> {
        self.errors("/")
    }
}

impl Asked {
    /// `at` comes before a field's name: `/` in a body, `?` in a query.
    pub fn errors(&self, at: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, detail: String| errors.push(FieldError::new(format!("{at}{field}"), detail));
        let sizes = [
            ("cpu_request_milli", self.cpu_request_milli, 1, MOST_CPU_MILLI),
            ("cpu_limit_milli", self.cpu_limit_milli, 1, MOST_CPU_MILLI),
            ("mem_request_mib", self.mem_request_mib, 1, MOST_MEM_MIB),
            ("mem_limit_mib", self.mem_limit_mib, 1, MOST_MEM_MIB),
            ("disk_mib", self.disk_mib, 0, MOST_DISK_MIB),
        ];
        for (field, value, low, high) in sizes {
            if value.is_some() && self.plan_id.is_some() {
                wrong(field, "must be left out: the plan says it".into());
            } else if value.is_some_and(|value| !(low..=high).contains(&value)) {
                wrong(field, format!("must be between {low} and {high}"));
            }
        }
        for (field, value, limit_field, limit) in [
            (
                "cpu_request_milli",
                self.cpu_request_milli,
                "cpu_limit_milli",
                self.cpu_limit_milli,
            ),
            (
                "mem_request_mib",
                self.mem_request_mib,
                "mem_limit_mib",
                self.mem_limit_mib,
            ),
        ] {
            match (value, limit) {
                (None, _) if self.plan_id.is_none() => wrong(field, "is needed without a plan_id".into()),
                (Some(request), Some(limit)) if limit < request => {
                    wrong(limit_field, format!("must not be below {field}"));
                }
                _ => {}
            }
        }
        errors
    }

    /// What it would ask of a node, or what is wrong with the question.
    pub async fn demand(&self, conn: &mut PgConnection, scheduler: &Scheduler, at: &str) -> Result<Demand> {
        let errors = self.errors(at);
        if !errors.is_empty() {
            return Err(Problem::validation(errors));
        }
        let demand = match self.plan_id {
            Some(plan_id) => read::demand_of_plan(conn, scheduler, plan_id)
                .await?
                .ok_or_else(|| Problem::validation(vec![FieldError::new(format!("{at}plan_id"), "is not a plan")]))?,
            None => self.sized(scheduler),
        };
        Ok(Demand {
            volume_node: self.volume_node_id,
            ..demand
        })
    }

    fn sized(&self, scheduler: &Scheduler) -> Demand {
        let (cpu, mem) = (self.cpu_request_milli.unwrap_or(0), self.mem_request_mib.unwrap_or(0));
        Demand {
            // Nothing that exists has this id, so nothing is left out of the sum.
            instance_id: Uuid::nil(),
            cpu_request_milli: cpu,
            cpu_limit_milli: self.cpu_limit_milli.unwrap_or(cpu),
            mem_request_mib: mem,
            mem_limit_mib: self.mem_limit_mib.unwrap_or(mem),
            disk_mib: self.disk_mib.unwrap_or(0),
            volume_node: None,
            movable: scheduler.follows(self.disk_mib.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(asked: &Asked) -> Vec<String> {
        asked.errors("?").into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_plan_or_a_size_and_not_both() {
        let size = Asked {
            cpu_request_milli: Some(250),
            mem_request_mib: Some(512),
            ..Asked::default()
        };
        let plan = Asked {
            plan_id: Some(Uuid::nil()),
            ..Asked::default()
        };
        assert_eq!(wrong(&size), [""; 0]);
        assert_eq!(wrong(&plan), [""; 0]);
        assert_eq!(size.sized(&Scheduler::default()).cpu_limit_milli, 250);
        for (asked, pointers) in [
            (Asked::default(), vec!["?cpu_request_milli", "?mem_request_mib"]),
            (
                Asked {
                    disk_mib: Some(1),
                    ..plan
                },
                vec!["?disk_mib"],
            ),
            (
                Asked {
                    cpu_request_milli: Some(0),
                    ..size.clone()
                },
                vec!["?cpu_request_milli"],
            ),
            (
                Asked {
                    mem_limit_mib: Some(511),
                    ..size.clone()
                },
                vec!["?mem_limit_mib"],
            ),
            (
                Asked {
                    disk_mib: Some(-1),
                    ..size
                },
                vec!["?disk_mib"],
            ),
        ] {
            assert_eq!(wrong(&asked), pointers, "{asked:?}");
        }
    }
}
