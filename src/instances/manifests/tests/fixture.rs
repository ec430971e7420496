//! One instance of a shipped template with all that its objects depend on.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::json;
use uuid::Uuid;

use crate::catalog::template::{InputValue, Inputs, Plan, Template, load_embedded, validate_inputs};
use crate::instances::manifests::{ClusterSettings, Input, InstanceFacts, Rendered, WrittenRequest, render};
use crate::instances::phase::AdminState;

pub struct Fixture {
    pub instance: InstanceFacts,
    pub template: Template,
    pub plan: Plan,
    pub running: bool,
    pub admin_state: AdminState,
    pub route_open: bool,
    pub secrets: BTreeMap<String, String>,
    pub settings: ClusterSettings,
    inputs: Inputs,
    written_request: WrittenRequest,
}

impl Fixture {
    /// Every shipped template in every of its plans.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for template in load_embedded().unwrap() {
            for plan in template.plans.clone() {
                all.push(Self::new(template.clone(), plan));
            }
        }
        assert!(all.len() >= 10, "five templates with two plans each");
        all
    }

    pub fn of(slug: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|fixture| fixture.template.slug == slug)
            .expect("a shipped template")
    }

    fn new(template: Template, plan: Plan) -> Self {
        let answers: serde_json::Map<_, _> = template
            .inputs
            .iter()
            .filter(|input| input.required)
            .map(|input| (input.key.clone(), json!("owner@example.org")))
            .collect();
        let secrets = template.secrets.iter().map(|secret| {
            let value = format!("plaintext-of-{}", secret.key);
            (secret.key.clone(), value)
        });
        Self {
            instance: InstanceFacts {
                id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001),
                name: format!("{}-2", template.slug),
                generation: 4,
                restart_no: 0,
                host: format!("kf3a9x2b-2.{}.apps.example.org", template.slug),
                user_id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
                subscription_id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0003),
            },
            secrets: secrets.collect(),
            inputs: validate_inputs(&template, &answers.into()).unwrap(),
            written_request: WrittenRequest {
                cpu_milli: i32::try_from(plan.cpu_request_milli).unwrap(),
                mem_mib: i32::try_from(plan.mem_request_mib).unwrap(),
            },
            template,
            plan,
            running: true,
            admin_state: AdminState::Settled,
            route_open: true,
            settings: ClusterSettings {
                ingress_class: "traefik".to_owned(),
                cluster_issuer: Some("letsencrypt".to_owned()),
                storage_class: "longhorn".to_owned(),
                ingress_namespace: "kube-system".to_owned(),
                ingress_pod_labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "traefik".to_owned())]),
                ingress_address: Some([10, 43, 0, 80].into()),
                dns_namespace: "kube-system".to_owned(),
                image_pull_policy: Some("IfNotPresent".to_owned()),
            },
        }
    }

    pub fn input(&self) -> Input<'_> {
        Input {
            instance: &self.instance,
            template: &self.template,
            plan: &self.plan,
            written_request: self.written_request,
            node_name: "node-b",
            running: self.running,
            secrets: &self.secrets,
            inputs: &self.inputs,
            admin_state: self.admin_state,
            route_open: self.route_open,
            settings: &self.settings,
            namespace: "c-kf3a9x2b",
        }
    }

    pub fn render(&self) -> Rendered {
        render(&self.input()).unwrap()
    }

    pub fn template_of_pod(&self) -> PodTemplateSpec {
        self.render().stateful_set.spec.unwrap().template
    }

    pub fn request(&mut self, cpu_milli: u32, mem_mib: u32) {
        self.written_request = WrittenRequest {
            cpu_milli: i32::try_from(cpu_milli).unwrap(),
            mem_mib: i32::try_from(mem_mib).unwrap(),
        };
    }

    pub fn set_secret(&mut self, key: &str, value: &str) {
        assert!(self.secrets.insert(key.to_owned(), value.to_owned()).is_some(), "{key}");
    }

    pub fn answer(&mut self, key: &str, text: &str) {
        let answer = InputValue::Text(text.to_owned());
        assert!(self.inputs.0.insert(key.to_owned(), answer).is_some(), "{key}");
    }
}
