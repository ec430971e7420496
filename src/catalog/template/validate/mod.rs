//! The rules that a template keeps. Every problem is reported with its field, all at once.
//!
//! A template that passes renders without errors for every plan and every accepted set of inputs, refers only to what
//! it defines, holds no literal secret, and gives the engine numbers that add up.

mod access;
mod containers;
mod offer;
mod values;

use std::{collections::BTreeSet, fmt};

use super::Template;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// RFC 6901 pointer into the template; empty for the document itself.
    pub pointer: String,
    pub message: String,
}

impl Issue {
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// `/components/1/name` as people write it: `components[1].name`.
    pub fn field(&self) -> String {
        self.pointer
            .split('/')
            .skip(1)
            .fold(String::new(), |path, part| match part.parse::<usize>() {
                Ok(index) => format!("{path}[{index}]"),
                Err(_) if path.is_empty() => part.to_owned(),
                Err(_) => format!("{path}.{part}"),
            })
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field(), self.message)
        }
    }
}

/// Everything that is wrong with a template; empty when it may be used.
pub fn validate(template: &Template) -> Vec<Issue> {
    let mut checker = Checker {
        template,
        issues: Vec::new(),
    };
    checker.identity();
    checker.components();
    checker.shares();
    checker.volumes();
    checker.secrets();
    checker.inputs();
    checker.ingress();
    checker.health();
    checker.backup();
    checker.plans();
    checker.first_admin();
    checker.issues
}

struct Checker<'a> {
    template: &'a Template,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn refuse(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.issues.push(Issue::new(pointer, message));
    }

    fn require(&mut self, holds: bool, pointer: impl Into<String>, message: &str) {
        if !holds {
            self.refuse(pointer, message);
        }
    }

    fn text(&mut self, value: &str, pointer: &str) {
        self.require(!value.trim().is_empty(), pointer, "must not be empty");
    }

    fn label(&mut self, value: &str, pointer: &str) {
        self.require(
            is_dns_label(value),
            pointer,
            "must be a DNS label: lower-case letters, digits and inner hyphens, at most 31 characters",
        );
    }

    fn key(&mut self, value: &str, pointer: &str) {
        self.require(
            is_key(value),
            pointer,
            "must be lower-case letters, digits and underscores, starting with a letter",
        );
    }

    fn absolute(&mut self, path: &str, pointer: &str) {
        self.require(
            path.starts_with('/') && !has_dots(path),
            pointer,
            "must be an absolute path without ..",
        );
    }

    fn relative(&mut self, path: &str, pointer: &str) {
        let holds = !path.is_empty() && !path.starts_with('/') && !has_dots(path);
        self.require(holds, pointer, "must be a relative path without ..");
    }

    fn command(&mut self, command: &[String], pointer: &str) {
        self.require(
            command.first().is_some_and(|program| !program.is_empty()),
            pointer,
            "must name a program",
        );
    }

    fn within(&mut self, value: u32, least: u32, most: u32, pointer: &str) {
        if value < least || value > most {
            self.refuse(pointer, format!("must be between {least} and {most}, is {value}"));
        }
    }

    fn unique<'v>(&mut self, values: impl Iterator<Item = &'v str>, list: &str, field: &str) {
        let mut seen = BTreeSet::new();
        for (i, value) in values.enumerate() {
            if !seen.insert(value) {
                let suffix = if field.is_empty() {
                    String::new()
                } else {
                    format!("/{field}")
                };
                self.refuse(format!("{list}/{i}{suffix}"), format!("{value} is given twice"));
            }
        }
    }

    fn known_component(&mut self, name: &str, pointer: &str) -> bool {
        let known = self.template.component(name).is_some();
        if !known {
            self.refuse(pointer, format!("there is no component {name}"));
        }
        known
    }

    fn known_volume(&mut self, name: &str, pointer: &str) {
        if !self.template.volumes.iter().any(|volume| volume.name == name) {
            self.refuse(pointer, format!("there is no volume {name}"));
        }
    }

    fn known_secret(&mut self, key: &str, pointer: &str) {
        if !self.template.secrets.iter().any(|secret| secret.key == key) {
            self.refuse(pointer, format!("there is no secret {key}"));
        }
    }

    fn known_input(&mut self, key: &str, pointer: &str) {
        if !self.template.inputs.iter().any(|input| input.key == key) {
            self.refuse(pointer, format!("there is no input {key}"));
        }
    }
}

/// Short enough that names made of slug, instance handle and component stay within Kubernetes' 63 characters.
fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && (2..=31).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(inner)
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 63
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
