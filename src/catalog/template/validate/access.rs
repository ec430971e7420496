//! Rules of access and operation: secrets, inputs, the route, health, backup, and the first administrator.

use super::{Checker, values::looks_secret};
use crate::catalog::template::{
    EnvMap, EnvValue, FirstAdmin, Generator, InputKind, InputSpec, SecretSpec, Source, Task, input::whole_match,
};

const TARGET: &str = "LUMBUNG_TARGET";

impl Checker<'_> {
    pub(super) fn secrets(&mut self) {
        let secrets = &self.template.secrets;
        self.unique(secrets.iter().map(|secret| secret.key.as_str()), "/secrets", "key");
        for (i, secret) in secrets.iter().enumerate() {
            let at = format!("/secrets/{i}");
            self.key(&secret.key, &format!("{at}/key"));
            self.text(&secret.label, &format!("{at}/label"));
            self.generator(secret, &format!("{at}/generator"));
            let used = self.secret_is_used(&secret.key);
            self.require(used, at, "is used by no variable, hash or account");
        }
    }

    fn generator(&mut self, secret: &SecretSpec, at: &str) {
        match &secret.generator {
            Generator::Password { length } => self.within(*length, 12, 128, &format!("{at}/password/length")),
            Generator::Hex { bytes } => self.within(*bytes, 8, 128, &format!("{at}/hex/bytes")),
            Generator::Base64 { bytes } => self.within(*bytes, 8, 128, &format!("{at}/base64/bytes")),
            Generator::Uuid => {}
            Generator::BcryptOf { key } => {
                self.hashed(key, &format!("{at}/bcrypt_of/key"));
                // bcrypt reads 72 bytes and no more.
                let source = self.template.secrets.iter().find(|other| other.key == *key);
                if let Some(Generator::Password { length: 73.. }) = source.map(|source| &source.generator) {
                    self.refuse(
                        format!("{at}/bcrypt_of/key"),
                        format!("{key} is longer than the 72 bytes of bcrypt"),
                    );
                }
            }
            Generator::Argon2Of { key } => self.hashed(key, &format!("{at}/argon2_of/key")),
            Generator::Literal { .. } => self.require(
                !looks_secret(&secret.key),
                format!("{at}/literal"),
                "is for user names; what looks like a secret is generated",
            ),
        }
    }

    fn hashed(&mut self, key: &str, pointer: &str) {
        self.known_secret(key, pointer);
        let source = self.template.secrets.iter().find(|secret| secret.key == key);
        if source.is_some_and(|source| source.generator.derived_from().is_some()) {
            self.refuse(pointer, format!("{key} is a hash itself"));
        }
    }

    fn secret_is_used(&self, key: &str) -> bool {
        let template = self.template;
        let admin = &template.first_admin;
        let once = if let FirstAdmin::EnvOnce(once) = admin {
            vec![&once.before, &once.after]
        } else {
            Vec::new()
        };
        let tasks = admin.verify().into_iter().chain(admin.setup()).map(|task| &task.env);
        let steps = admin.init_steps().iter().map(|step| &step.env);
        let mut envs = template
            .components
            .iter()
            .map(|component| &component.env)
            .chain(once)
            .chain(tasks)
            .chain(steps);
        let in_env = envs.any(|env: &EnvMap| env.values().any(|value| *value == EnvValue::Secret(key.to_owned())));
        let in_hash = template
            .secrets
            .iter()
            .any(|secret| secret.generator.derived_from() == Some(key));
        let in_account = admin
            .account()
            .is_some_and(|account| account.password == key || account.username == Some(Source::Secret(key.to_owned())));
        in_env || in_hash || in_account
    }

    pub(super) fn inputs(&mut self) {
        let inputs = &self.template.inputs;
        self.unique(inputs.iter().map(|input| input.key.as_str()), "/inputs", "key");
        for (i, input) in inputs.iter().enumerate() {
            self.input(input, &format!("/inputs/{i}"));
        }
    }

    fn input(&mut self, input: &InputSpec, at: &str) {
        self.key(&input.key, &format!("{at}/key"));
        self.text(&input.label, &format!("{at}/label"));
        let is_text = matches!(input.kind, InputKind::String | InputKind::Email | InputKind::Enum);
        let is_enum = input.kind == InputKind::Enum;
        self.require(
            is_enum != input.options.is_empty(),
            format!("{at}/options"),
            "belongs to an enum, and an enum needs it",
        );
        let bounded = input.min.is_some() || input.max.is_some();
        self.require(
            !bounded || input.kind == InputKind::Integer,
            at,
            "min and max belong to an integer",
        );
        self.require(
            input.max_length.is_none() || is_text,
            format!("{at}/max_length"),
            "belongs to a text",
        );
        if let Some(pattern) = &input.pattern {
            self.require(is_text, format!("{at}/pattern"), "belongs to a text");
            self.require(
                whole_match(pattern).is_ok(),
                format!("{at}/pattern"),
                "is not a valid regular expression",
            );
        }
        match &input.default {
            Some(default) => {
                let value = serde_json::to_value(default).unwrap_or_default();
                if let Err(reason) = input.accept(&value) {
                    self.refuse(format!("{at}/default"), reason);
                }
            }
            None => self.require(input.required, at, "must be required or have a default"),
        }
    }

    pub(super) fn ingress(&mut self) {
        let ingress = &self.template.ingress;
        if self.known_component(&ingress.component, "/ingress/component")
            && let Some(component) = self.template.component(&ingress.component)
        {
            self.port_of(component, &ingress.port, "/ingress/port");
        }
        self.within(ingress.max_body_mib, 1, 2048, "/ingress/max_body_mib");
    }

    pub(super) fn health(&mut self) {
        let health = &self.template.health;
        self.text(&health.proves, "/health/proves");
        if self.known_component(&health.component, "/health/component")
            && let Some(component) = self.template.component(&health.component)
        {
            self.check(&health.check, component, "/health/check");
        }
    }

    pub(super) fn backup(&mut self) {
        let backup = &self.template.backup;
        self.require(!backup.paths.is_empty(), "/backup/paths", "must name what is saved");
        let paired = backup.quiesce.is_some() == backup.resume.is_some();
        self.require(paired, "/backup", "quiesce and resume belong together");
        for (exec, name) in [(&backup.quiesce, "quiesce"), (&backup.resume, "resume")] {
            if let Some(exec) = exec {
                self.known_component(&exec.component, &format!("/backup/{name}/component"));
                self.command(&exec.command, &format!("/backup/{name}/command"));
            }
        }
        self.unique(
            backup.dumps.iter().map(|dump| dump.name.as_str()),
            "/backup/dumps",
            "name",
        );
        for (i, dump) in backup.dumps.iter().enumerate() {
            let at = format!("/backup/dumps/{i}");
            self.relative(&dump.name, &format!("{at}/name"));
            self.known_component(&dump.component, &format!("{at}/component"));
            self.command(&dump.command, &format!("{at}/command"));
            if let Some(file) = &dump.file {
                self.absolute(file, &format!("{at}/file"));
            }
        }
        for (i, saved) in backup.paths.iter().enumerate() {
            self.known_volume(&saved.volume, &format!("/backup/paths/{i}/volume"));
            if let Some(sub_path) = &saved.sub_path {
                self.relative(sub_path, &format!("/backup/paths/{i}/sub_path"));
            }
        }
    }

    pub(super) fn first_admin(&mut self) {
        let admin = &self.template.first_admin;
        let at = match admin {
            FirstAdmin::Env(_) => "/first_admin/env",
            FirstAdmin::EnvOnce(once) => {
                self.known_component(&once.component, "/first_admin/env_once/component");
                self.require(
                    !once.before.is_empty(),
                    "/first_admin/env_once/before",
                    "must make the account",
                );
                let component = self.template.component(&once.component);
                self.env(&once.before, component, "/first_admin/env_once/before");
                self.env(&once.after, component, "/first_admin/env_once/after");
                "/first_admin/env_once"
            }
            FirstAdmin::Init(_) => {
                self.init_steps();
                "/first_admin/init"
            }
            FirstAdmin::SetupPod(pod) => {
                self.task(&pod.setup, "/first_admin/setup_pod/setup");
                "/first_admin/setup_pod"
            }
            FirstAdmin::None(none) => {
                self.text(&none.reason, "/first_admin/none/reason");
                return;
            }
        };
        if let Some(verify) = admin.verify() {
            self.task(verify, &format!("{at}/verify"));
        }
        self.account(at);
    }

    fn account(&mut self, at: &str) {
        let Some(account) = self.template.first_admin.account() else {
            return;
        };
        match &account.username {
            Some(Source::Secret(key)) => self.known_secret(key, &format!("{at}/account/username")),
            Some(Source::Input(key)) => self.known_input(key, &format!("{at}/account/username")),
            None => {}
        }
        self.known_secret(&account.password, &format!("{at}/account/password"));
        let secret = self
            .template
            .secrets
            .iter()
            .find(|secret| secret.key == account.password);
        let hidden = secret.is_some_and(|secret| !secret.shown_to_customer);
        self.require(
            !hidden,
            format!("{at}/account/password"),
            "must be a secret with shown_to_customer",
        );
        let path = account.login_path.starts_with('/');
        self.require(path, format!("{at}/account/login_path"), "must start with /");
    }

    fn init_steps(&mut self) {
        let steps = self.template.first_admin.init_steps();
        let at = "/first_admin/init/steps";
        self.require(!steps.is_empty(), at, "must make the account");
        self.unique(steps.iter().map(|step| step.name.as_str()), at, "name");
        for (i, step) in steps.iter().enumerate() {
            self.label(&step.name, &format!("{at}/{i}/name"));
            let taken = self.template.component(&step.name).is_some();
            self.require(!taken, format!("{at}/{i}/name"), "is already the name of a component");
            self.image(&step.image, &format!("{at}/{i}/image"));
            self.env(&step.env, None, &format!("{at}/{i}/env"));
            self.mounts(&step.mounts, &format!("{at}/{i}/mounts"));
            self.require(
                step.run_as_user >= 0,
                format!("{at}/{i}/run_as_user"),
                "must not be negative",
            );
        }
    }

    fn task(&mut self, task: &Task, at: &str) {
        self.image(&task.image, &format!("{at}/image"));
        self.command(&task.command, &format!("{at}/command"));
        self.env(&task.env, None, &format!("{at}/env"));
        let targeted = matches!(task.env.get(TARGET), Some(EnvValue::Expr(_)));
        self.require(
            targeted,
            format!("{at}/env"),
            "must hold LUMBUNG_TARGET as an expr, the address to talk to",
        );
        self.require(
            task.run_as_user > 0,
            format!("{at}/run_as_user"),
            "must be greater than 0: tasks never run as root",
        );
        self.within(task.timeout_seconds, 1, 600, &format!("{at}/timeout_seconds"));
    }
}
