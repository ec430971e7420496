//! Expressions: from a template and the facts of one instance to the values in its manifests.
//!
//! Expressions never see secrets. A secret travels by reference to a key of the instance's Secret, so that no manifest,
//! no ConfigMap and no `kubectl describe` shows it; undefined names are errors, not empty strings.

use minijinja::{Environment, UndefinedBehavior, syntax::SyntaxConfig};
use serde::Serialize;

use super::{EnvMap, EnvValue, Inputs, Plan, Resources};

/// What an expression may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub instance_id: String,
    /// The instance's public host name.
    pub host: String,
    /// Its public address without a slash at the end, `https://host`.
    pub url: String,
    /// The service inside the cluster, `http://name.namespace.svc:port`: what verification talks to.
    pub target: String,
    pub plan: PlanFacts,
    /// Limits of the component that is rendered, after the plan was shared out.
    pub component: Resources,
    pub inputs: Inputs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanFacts {
    pub code: String,
    pub cpu_limit_milli: u32,
    pub mem_limit_mib: u32,
    pub disk_mib: u32,
}

impl From<&Plan> for PlanFacts {
    fn from(plan: &Plan) -> Self {
        Self {
            code: plan.code.clone(),
            cpu_limit_milli: plan.cpu_limit_milli,
            mem_limit_mib: plan.mem_limit_mib,
            disk_mib: plan.disk_mib,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedEnv {
    pub name: String,
    pub value: Resolved,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The text that the application is to see; pass it through [`escape_for_kubernetes`] into a manifest.
    Plain(String),
    /// Key of the instance's Secret.
    SecretKey(String),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RenderError {
    #[error("{name}: {reason}")]
    Expression { name: String, reason: String },
    #[error("{name}: there is no input {key}")]
    NoInput { name: String, key: String },
}

impl Facts {
    /// Renders one expression or config file; `name` says in an error which one.
    pub fn render(&self, name: &str, source: &str) -> Result<String, RenderError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .expect("the delimiters are the default ones");
        environment.set_syntax(syntax);
        environment.add_filter("json", json_text);
        environment.add_filter("at_least", |value: i64, least: i64| value.max(least));
        environment.add_filter("at_most", |value: i64, most: i64| value.min(most));
        environment
            .render_str(source, minijinja::value::Serde(self))
            .map_err(|error| RenderError::Expression {
                name: name.to_owned(),
                reason: error
                    .detail()
                    .map_or_else(|| error.kind().to_string(), |d| format!("{}: {d}", error.kind())),
            })
    }

    /// Every variable of `env`, in its order.
    pub fn resolve(&self, env: &EnvMap) -> Result<Vec<ResolvedEnv>, RenderError> {
        env.iter()
            .map(|(name, value)| {
                let value = match value {
                    EnvValue::Literal(text) => Resolved::Plain(text.clone()),
                    EnvValue::Secret(key) => Resolved::SecretKey(key.clone()),
                    EnvValue::Input(key) => match self.inputs.get(key) {
                        Some(answer) => Resolved::Plain(answer.as_env()),
                        None => {
                            return Err(RenderError::NoInput {
                                name: name.clone(),
                                key: key.clone(),
                            });
                        }
                    },
                    EnvValue::Expr(source) => Resolved::Plain(self.render(name, source)?),
                };
                Ok(ResolvedEnv {
                    name: name.clone(),
                    value,
                })
            })
            .collect()
    }

    /// The same facts seen from another component.
    pub fn for_component(&self, component: Resources) -> Self {
        Self {
            component,
            ..self.clone()
        }
    }
}

/// A value as JSON, quotes included: how a customer's text gets into a request body unharmed.
fn json_text(value: minijinja::Value) -> Result<String, minijinja::Error> {
    serde_json::to_string(&value)
        .map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))
}

/// Kubernetes replaces `$(NAME)` in `env.value`, `command` and `args`, and turns `$$` into `$`: without this a
/// customer's text could quote the pod's other variables, and a shell script would lose its `$$`.
pub fn escape_for_kubernetes(text: &str) -> String {
    text.replace('$', "$$")
}
