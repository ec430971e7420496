//! Rules of containers: names, ports, mounts, probes, rights, and the shares of the plan.

use super::Checker;
use crate::catalog::template::{Check, Component, Mount, Probe, Role, plan::WHOLE_PPM};

/// What Pod Security `baseline` lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

impl Checker<'_> {
    pub(super) fn components(&mut self) {
        let components = &self.template.components;
        let has_app = components.iter().any(|component| component.role == Role::App);
        self.require(has_app, "/components", "must hold a component with role app");
        self.unique(
            components.iter().map(|component| component.name.as_str()),
            "/components",
            "name",
        );
        for (i, component) in components.iter().enumerate() {
            self.component(component, &format!("/components/{i}"));
        }
        self.pod_ports();
    }

    fn component(&mut self, component: &Component, at: &str) {
        self.label(&component.name, &format!("{at}/name"));
        self.image(&component.image, &format!("{at}/image"));
        self.env(&component.env, Some(component), &format!("{at}/env"));
        for (i, port) in component.ports.iter().enumerate() {
            let named = super::is_dns_label(&port.name) && port.name.len() <= 15;
            self.require(
                named,
                format!("{at}/ports/{i}/name"),
                "must be a DNS label of at most 15 characters",
            );
            self.require(port.port > 0, format!("{at}/ports/{i}/port"), "must not be 0");
        }
        self.unique(
            component.ports.iter().map(|port| port.name.as_str()),
            &format!("{at}/ports"),
            "name",
        );
        self.mounts(&component.mounts, &format!("{at}/mounts"));
        self.probe(&component.probes.startup, component, &format!("{at}/probes/startup"));
        self.probe(
            &component.probes.readiness,
            component,
            &format!("{at}/probes/readiness"),
        );
        if let Some(liveness) = &component.probes.liveness {
            self.probe(liveness, component, &format!("{at}/probes/liveness"));
        }
        self.security(component, &format!("{at}/security"));
        for (i, path) in component.tmp_dirs.iter().enumerate() {
            self.absolute(path, &format!("{at}/tmp_dirs/{i}"));
        }
        self.unique(
            component.tmp_dirs.iter().map(String::as_str),
            &format!("{at}/tmp_dirs"),
            "",
        );
        self.unique(
            component.config_files.iter().map(|file| file.path.as_str()),
            &format!("{at}/config_files"),
            "path",
        );
        for (i, file) in component.config_files.iter().enumerate() {
            self.absolute(&file.path, &format!("{at}/config_files/{i}/path"));
            self.expression(
                &file.content,
                Some(component),
                &format!("{at}/config_files/{i}/content"),
            );
        }
    }

    pub(super) fn mounts(&mut self, mounts: &[Mount], at: &str) {
        self.unique(mounts.iter().map(|mount| mount.path.as_str()), at, "path");
        for (i, mount) in mounts.iter().enumerate() {
            self.known_volume(&mount.volume, &format!("{at}/{i}/volume"));
            self.absolute(&mount.path, &format!("{at}/{i}/path"));
            if let Some(sub_path) = &mount.sub_path {
                self.relative(sub_path, &format!("{at}/{i}/sub_path"));
            }
        }
    }

    /// All containers of a pod share one network namespace: a number can be listened on once.
    fn pod_ports(&mut self) {
        let mut seen = std::collections::BTreeMap::new();
        for (i, component) in self.template.components.iter().enumerate() {
            for (j, port) in component.ports.iter().enumerate() {
                if let Some(other) = seen.insert(port.port, &component.name) {
                    let message = format!("{} is already a port of {other}, in the same pod", port.port);
                    self.refuse(format!("/components/{i}/ports/{j}/port"), message);
                }
            }
        }
    }

    fn probe(&mut self, probe: &Probe, component: &Component, at: &str) {
        self.check(&probe.check, component, &format!("{at}/check"));
        self.within(probe.period_seconds, 1, 600, &format!("{at}/period_seconds"));
        self.within(probe.timeout_seconds, 1, 120, &format!("{at}/timeout_seconds"));
        self.within(probe.failure_threshold, 1, 1000, &format!("{at}/failure_threshold"));
    }

    pub(super) fn check(&mut self, check: &Check, component: &Component, at: &str) {
        match check {
            Check::Http(http) => {
                self.require(
                    http.path.starts_with('/'),
                    format!("{at}/http/path"),
                    "must start with /",
                );
                self.port_of(component, &http.port, &format!("{at}/http/port"));
            }
            Check::Tcp(tcp) => self.port_of(component, &tcp.port, &format!("{at}/tcp/port")),
            Check::Exec(exec) => self.command(&exec.command, &format!("{at}/exec/command")),
        }
    }

    pub(super) fn port_of(&mut self, component: &Component, name: &str, pointer: &str) {
        if component.port(name).is_none() {
            self.refuse(pointer, format!("component {} has no port {name}", component.name));
        }
    }

    fn security(&mut self, component: &Component, at: &str) {
        let security = &component.security;
        for (id, field) in [
            (security.run_as_user, "run_as_user"),
            (security.run_as_group, "run_as_group"),
        ] {
            self.require(
                id.is_none_or(|id| id >= 0),
                format!("{at}/{field}"),
                "must not be negative",
            );
        }
        for (i, capability) in security.capabilities.iter().enumerate() {
            if !BASELINE_CAPABILITIES.contains(&capability.as_str()) {
                let message = format!("{capability} is not allowed by Pod Security baseline");
                self.refuse(format!("{at}/capabilities/{i}"), message);
            }
        }
    }

    pub(super) fn shares(&mut self) {
        let components = &self.template.components;
        let cpu: u64 = components
            .iter()
            .map(|component| u64::from(component.share.cpu_ppm))
            .sum();
        let memory: u64 = components
            .iter()
            .map(|component| u64::from(component.share.memory_ppm))
            .sum();
        for (sum, what) in [(cpu, "cpu_ppm"), (memory, "memory_ppm")] {
            if sum != u64::from(WHOLE_PPM) {
                self.refuse(
                    "/components",
                    format!("share.{what} must sum to {WHOLE_PPM}, sums to {sum}"),
                );
            }
        }
        for (i, component) in components.iter().enumerate() {
            let some = component.share.cpu_ppm > 0 && component.share.memory_ppm > 0;
            self.require(
                some,
                format!("/components/{i}/share"),
                "must give the component some CPU and some memory",
            );
        }
    }
}
