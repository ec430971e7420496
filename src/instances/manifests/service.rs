//! The Service: the route's port and nothing else. Databases listen on the pod's loopback.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Error, Input, facts, meta};

pub fn service(input: &Input<'_>) -> Result<Service, Error> {
    let port = facts::route_port(input)?;
    Ok(Service {
        metadata: meta::object_meta(input, meta::service_name(&input.instance.name)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(meta::instance_selector(input.instance.id)),
            ports: Some(vec![ServicePort {
                name: Some(port.name.clone()),
                port: port.port.into(),
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(port.port.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}
