//! Typed inputs: what a customer is asked at the order, and the check of the answers.
//!
//! Answers reach environment variables and JSON bodies, so text never holds control characters; everything else is
//! for the template to say (`pattern`, `max_length`, `options`).

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Template;
use crate::http::problem::FieldError;

const DEFAULT_MAX_LENGTH: u32 = 200;

/// Local part and domain as in the HTML standard's definition of a valid address, plus a dot in the domain.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$",
    )
    .expect("the pattern is constant")
});

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    pub key: String,
    pub label: String,
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// The choices of an `enum`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// An input is required or has a default: an expression never meets a hole.
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<InputValue>,
    /// In characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// Regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    String,
    Email,
    Enum,
    Bool,
    Integer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum InputValue {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl InputValue {
    /// As an environment variable holds it.
    pub fn as_env(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// Checked answers with the defaults filled in: one entry per input of the template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(pub BTreeMap<String, InputValue>);

impl Inputs {
    pub fn get(&self, key: &str) -> Option<&InputValue> {
        self.0.get(key)
    }
}

/// Checks the answers to a template's inputs. All problems are reported at once, with pointers into the inputs object; JSON `null` counts as not answered.
pub fn validate_inputs(template: &Template, answers: &Value) -> Result<Inputs, Vec<FieldError>> {
    let empty = serde_json::Map::new();
    let answers = match answers {
        Value::Object(map) => map,
        Value::Null => &empty,
        _ => {
            return Err(vec![FieldError {
                pointer: String::new(),
                detail: "must be an object".to_owned(),
            }]);
        }
    };
    let mut errors = Vec::new();
    let mut inputs = Inputs::default();
    for key in answers.keys() {
        if !template.inputs.iter().any(|spec| spec.key == *key) {
            errors.push(FieldError {
                pointer: pointer(key),
                detail: format!("{} has no such input", template.name),
            });
        }
    }
    for spec in &template.inputs {
        let answer = answers.get(&spec.key).filter(|value| !value.is_null());
        let checked = match (answer, &spec.default) {
            (Some(value), _) => spec.accept(value),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err("is required".to_owned()),
        };
        match checked {
            Ok(value) => {
                inputs.0.insert(spec.key.clone(), value);
            }
            Err(detail) => errors.push(FieldError {
                pointer: pointer(&spec.key),
                detail,
            }),
        }
    }
    if errors.is_empty() { Ok(inputs) } else { Err(errors) }
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl InputSpec {
    /// Checks one answer against this input; the error completes the sentence "the input …".
    pub fn accept(&self, answer: &Value) -> Result<InputValue, String> {
        match self.kind {
            InputKind::Bool => answer
                .as_bool()
                .map(InputValue::Bool)
                .ok_or_else(|| "must be true or false".to_owned()),
            InputKind::Integer => self.accept_integer(answer),
            InputKind::String | InputKind::Email | InputKind::Enum => self.accept_text(answer),
        }
    }

    fn accept_integer(&self, answer: &Value) -> Result<InputValue, String> {
        let number = answer.as_i64().ok_or("must be a whole number")?;
        if self.min.is_some_and(|min| number < min) || self.max.is_some_and(|max| number > max) {
            return Err(match (self.min, self.max) {
                (Some(min), Some(max)) => format!("must be between {min} and {max}"),
                (Some(min), None) => format!("must be {min} or more"),
                (None, _) => format!("must be {} or less", self.max.unwrap_or(i64::MAX)),
            });
        }
        Ok(InputValue::Integer(number))
    }

    fn accept_text(&self, answer: &Value) -> Result<InputValue, String> {
        let text = answer.as_str().ok_or("must be a text")?;
        if text.trim().is_empty() {
            return Err("must not be empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain line breaks or control characters".to_owned());
        }
        let max_length = self.max_length.unwrap_or(DEFAULT_MAX_LENGTH) as usize;
        if text.chars().count() > max_length {
            return Err(format!("must have at most {max_length} characters"));
        }
        if self.kind == InputKind::Enum && !self.options.iter().any(|option| option == text) {
            return Err(format!("must be one of {}", self.options.join(", ")));
        }
        if self.kind == InputKind::Email && (text.len() > 254 || !EMAIL.is_match(text)) {
            return Err("must be an e-mail address".to_owned());
        }
        if let Some(pattern) = &self.pattern {
            let whole = whole_match(pattern).map_err(|_| "cannot be checked: the template's pattern is invalid")?;
            if !whole.is_match(text) {
                return Err(self.help.clone().unwrap_or_else(|| format!("must match {pattern}")));
            }
        }
        Ok(InputValue::Text(text.to_owned()))
    }
}

pub(super) fn whole_match(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}
