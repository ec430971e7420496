//! Rules of values: images are pinned, references exist, expressions render, secrets are never literal.

use super::Checker;
use crate::catalog::template::{
    Component, EnvMap, EnvValue, Facts, Image, InputKind, InputSpec, InputValue, Inputs, Plan, Resources,
};

const SECRET_WORDS: [&str; 4] = ["PASSWORD", "SECRET", "TOKEN", "KEY"];

impl Checker<'_> {
    pub(super) fn image(&mut self, image: &Image, at: &str) {
        let repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "./_-:".contains(c);
        let named = image.repository.contains('/') && image.repository.chars().all(repository);
        self.require(
            named,
            format!("{at}/repository"),
            "must be registry/path in lower case, without a tag",
        );
        // `1.2` or `1.2.3` somewhere in the tag; `8` and `stable` move under a running customer.
        let versioned = image.tag.split(|c: char| !c.is_ascii_digit() && c != '.').any(|part| {
            part.split_once('.')
                .is_some_and(|(major, minor)| !major.is_empty() && !minor.is_empty())
        });
        if image.digest.is_none() && !versioned {
            self.refuse(
                format!("{at}/tag"),
                format!("{:?} is not pinned: name a full version, or give a digest", image.tag),
            );
        }
        let tag = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        self.require(
            !image.tag.is_empty() && image.tag.chars().all(tag),
            format!("{at}/tag"),
            "is not a valid tag",
        );
        if let Some(digest) = &image.digest {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            let valid = hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            self.require(
                valid,
                format!("{at}/digest"),
                "must be sha256: and 64 hexadecimal digits",
            );
        }
    }

    pub(super) fn env(&mut self, env: &EnvMap, component: Option<&Component>, at: &str) {
        for (name, value) in env {
            let here = format!("{at}/{name}");
            let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            self.require(valid, &here, "is not a valid variable name");
            if looks_secret(name) && !matches!(value, EnvValue::Secret(_)) {
                self.refuse(
                    &here,
                    "looks like a secret: take it from a generated one with {secret: key}",
                );
                continue;
            }
            match value {
                EnvValue::Literal(_) => {}
                EnvValue::Secret(key) => self.known_secret(key, &here),
                EnvValue::Input(key) => self.known_input(key, &here),
                EnvValue::Expr(source) => self.expression(source, component, &here),
            }
        }
    }

    /// Renders for every plan: a division by a plan's number must not fail for the one that nobody tried.
    pub(super) fn expression(&mut self, source: &str, component: Option<&Component>, pointer: &str) {
        for plan in &self.template.plans {
            let facts = self.sample_facts(plan, component);
            if let Err(error) = facts.render("expression", source) {
                let reason = error.to_string();
                self.refuse(pointer, reason.strip_prefix("expression: ").unwrap_or(&reason));
                return;
            }
        }
    }

    fn sample_facts(&self, plan: &Plan, component: Option<&Component>) -> Facts {
        let whole = plan.resources();
        let position = component.and_then(|c| self.template.components.iter().position(|other| other.name == c.name));
        let share: Resources = position.map_or(whole, |i| self.template.share_out(&whole)[i]);
        let inputs = self
            .template
            .inputs
            .iter()
            .map(|spec| (spec.key.clone(), sample(spec)))
            .collect();
        Facts {
            instance_id: "00000000-0000-7000-8000-000000000000".to_owned(),
            host: "sample.example.org".to_owned(),
            url: "https://sample.example.org".to_owned(),
            target: "http://sample.sample.svc:80".to_owned(),
            plan: plan.into(),
            component: share,
            inputs: Inputs(inputs),
        }
    }
}

pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn sample(spec: &InputSpec) -> InputValue {
    if let Some(default) = &spec.default {
        return default.clone();
    }
    match spec.kind {
        InputKind::Bool => InputValue::Bool(true),
        InputKind::Integer => InputValue::Integer(spec.min.or(spec.max).unwrap_or(1)),
        InputKind::Email => InputValue::Text("somebody@example.org".to_owned()),
        InputKind::Enum => InputValue::Text(spec.options.first().cloned().unwrap_or_default()),
        InputKind::String => InputValue::Text("sample".to_owned()),
    }
}
