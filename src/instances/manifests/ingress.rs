//! The route from the public host to the Service. It exists only once nobody else can claim the installation.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::{Error, Input, facts, meta};

pub fn ingress(input: &Input<'_>) -> Result<Option<Ingress>, Error> {
    if !input.route_open {
        return Ok(None);
    }
    let instance = input.instance;
    let port = facts::route_port(input)?;
    let mut metadata = meta::object_meta(input, instance.name.clone());
    let annotations = annotations(input);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: meta::service_name(&instance.name),
            port: Some(ServiceBackendPort {
                number: Some(port.port.into()),
                ..ServiceBackendPort::default()
            }),
        }),
        ..IngressBackend::default()
    };
    Ok(Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some(input.settings.ingress_class.clone()),
            rules: Some(vec![IngressRule {
                host: Some(instance.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend,
                    }],
                }),
            }]),
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![instance.host.clone()]),
                // Without an issuer nobody would fill that Secret; the controller's own certificate serves instead.
                secret_name: input
                    .settings
                    .cluster_issuer
                    .as_ref()
                    .map(|_| meta::tls_secret_name(&instance.name)),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }))
}

fn annotations(input: &Input<'_>) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if let Some(issuer) = &input.settings.cluster_issuer {
        annotations.insert("cert-manager.io/cluster-issuer".to_owned(), issuer.clone());
    }
    match input.settings.ingress_class.as_str() {
        // Passwords must not travel in the clear: the host does not answer on the unencrypted entry point.
        "traefik" => {
            let key = "traefik.ingress.kubernetes.io/router.entrypoints";
            annotations.insert(key.to_owned(), "websecure".to_owned());
        }
        // It cuts bodies at 1 MiB unless told otherwise; it redirects to https by itself.
        "nginx" => {
            let key = "nginx.ingress.kubernetes.io/proxy-body-size";
            annotations.insert(key.to_owned(), format!("{}m", input.template.ingress.max_body_mib));
        }
        _ => {}
    }
    annotations
}
