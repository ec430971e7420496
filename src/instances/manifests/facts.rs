//! What the template's expressions may name, for this instance.

use super::{Error, Input, service_name};
use crate::catalog::template::{Facts, Port, Resources};

/// The port that the route, the service and the tasks lead to.
pub fn route_port<'a>(input: &Input<'a>) -> Result<&'a Port, Error> {
    input.template.ingress_port().ok_or(Error::NoRoute)
}

/// `component` is the part of the plan of the container that is rendered.
pub fn facts(input: &Input<'_>, component: Resources) -> Result<Facts, Error> {
    let instance = input.instance;
    let port = route_port(input)?.port;
    Ok(Facts {
        instance_id: instance.id.to_string(),
        host: instance.host.clone(),
        url: format!("https://{}", instance.host),
        target: format!("http://{}.{}.svc:{port}", service_name(&instance.name), input.namespace),
        plan: input.plan.into(),
        component,
        inputs: input.inputs.clone(),
    })
}
