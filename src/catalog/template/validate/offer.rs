//! Rules of the offer: what the service is called, its licence, its plans and its volumes.

use super::Checker;
use crate::catalog::template::{Plan, Role, plan::WHOLE_PPM};

/// Below these a container does not start on any kernel and runtime that we know.
const LEAST_CPU_MILLI: u32 = 10;
const LEAST_MEM_MIB: u32 = 16;
/// Beyond any single machine: 1000 cores, 16 TiB of memory, 1 PiB of disk. A slip of the keyboard is caught here.
const MOST_CPU_MILLI: u32 = 1_000_000;
const MOST_MEM_MIB: u32 = 16 * 1024 * 1024;
const MOST_DISK_MIB: u32 = 1024 * 1024 * 1024;

impl Checker<'_> {
    pub(super) fn identity(&mut self) {
        let template = self.template;
        self.label(&template.slug, "/slug");
        for (value, pointer) in [
            (&template.name, "/name"),
            (&template.summary, "/summary"),
            (&template.description, "/description"),
            (&template.version, "/version"),
            (&template.licence.name, "/licence/name"),
            (&template.licence.note, "/licence/note"),
        ] {
            self.text(value, pointer);
        }
        for (i, category) in template.categories.iter().enumerate() {
            self.label(category, &format!("/categories/{i}"));
        }
        self.require(
            !template.categories.is_empty(),
            "/categories",
            "must name at least one category",
        );
        for (url, pointer) in [
            (&template.homepage, "/homepage"),
            (&template.documentation, "/documentation"),
        ] {
            self.require(url.starts_with("https://"), pointer, "must be an https:// address");
        }
        let licence = &template.licence;
        let cited = licence.spdx.is_some() || licence.url.as_deref().is_some_and(|url| url.starts_with("https://"));
        self.require(cited, "/licence", "must give spdx, or url with an https:// address");
        let has_database = template
            .components
            .iter()
            .any(|component| component.role == Role::Database);
        // A sidecar is stopped after the app, within the same time: a database killed half-way recovers for minutes.
        let least = if has_database { 120 } else { 1 };
        self.within(template.grace_period_seconds, least, 600, "/grace_period_seconds");
        self.require(
            template.fs_group.is_none_or(|id| id > 0),
            "/fs_group",
            "must be greater than 0",
        );
    }

    pub(super) fn plans(&mut self) {
        let template = self.template;
        self.require(!template.plans.is_empty(), "/plans", "must hold at least one plan");
        self.unique(template.plans.iter().map(|plan| plan.code.as_str()), "/plans", "code");
        for (i, plan) in template.plans.iter().enumerate() {
            self.plan(plan, &format!("/plans/{i}"));
        }
    }

    fn plan(&mut self, plan: &Plan, at: &str) {
        let minimum = self.template.minimum;
        self.label(&plan.code, &format!("{at}/code"));
        self.text(&plan.name, &format!("{at}/name"));
        self.require(plan.price_idr >= 0, format!("{at}/price_idr"), "must not be negative");
        let cpu_fits = plan.cpu_request_milli <= plan.cpu_limit_milli;
        self.require(
            cpu_fits,
            format!("{at}/cpu_request_milli"),
            "must not exceed cpu_limit_milli",
        );
        let mem_fits = plan.mem_request_mib <= plan.mem_limit_mib;
        self.require(
            mem_fits,
            format!("{at}/mem_request_mib"),
            "must not exceed mem_limit_mib",
        );
        self.within(plan.disk_mib, 1, MOST_DISK_MIB, &format!("{at}/disk_mib"));
        self.within(
            plan.cpu_limit_milli,
            1,
            MOST_CPU_MILLI,
            &format!("{at}/cpu_limit_milli"),
        );
        self.within(plan.mem_limit_mib, 1, MOST_MEM_MIB, &format!("{at}/mem_limit_mib"));
        if plan.mem_limit_mib < minimum.mem_mib {
            let message = format!(
                "{} is less than the service's minimum of {} MiB",
                plan.mem_limit_mib, minimum.mem_mib
            );
            self.refuse(format!("{at}/mem_limit_mib"), message);
        }
        if plan.cpu_limit_milli < minimum.cpu_milli {
            let message = format!(
                "{} is less than the service's minimum of {} milli-CPU",
                plan.cpu_limit_milli, minimum.cpu_milli
            );
            self.refuse(format!("{at}/cpu_limit_milli"), message);
        }
        let shares = self.template.share_out(&plan.resources());
        for (component, share) in self.template.components.iter().zip(shares) {
            if share.cpu_request_milli < LEAST_CPU_MILLI || share.mem_request_mib < LEAST_MEM_MIB {
                let message = format!(
                    "leaves component {} with {} milli-CPU and {} MiB; it needs {LEAST_CPU_MILLI} and {LEAST_MEM_MIB}",
                    component.name, share.cpu_request_milli, share.mem_request_mib
                );
                self.refuse(at, message);
            }
        }
    }

    pub(super) fn volumes(&mut self) {
        let template = self.template;
        self.unique(
            template.volumes.iter().map(|volume| volume.name.as_str()),
            "/volumes",
            "name",
        );
        for (i, volume) in template.volumes.iter().enumerate() {
            self.label(&volume.name, &format!("/volumes/{i}/name"));
            let mounted = template
                .components
                .iter()
                .any(|component| component.mounts.iter().any(|mount| mount.volume == volume.name));
            self.require(mounted, format!("/volumes/{i}"), "is mounted by no component");
        }
        let sum: u64 = template.volumes.iter().map(|volume| u64::from(volume.disk_ppm)).sum();
        if !template.volumes.is_empty() && sum != u64::from(WHOLE_PPM) {
            self.refuse("/volumes", format!("disk_ppm must sum to {WHOLE_PPM}, sums to {sum}"));
        }
    }
}
