//! Quantities, and what a pod requests: the numbers that scheduler and quota count with.
//!
//! A pod's effective request is, per resource, the larger of what its long-running containers need together (main
//! containers and restartable sidecars) and what its start needs at most (each ordinary init container on top of the
//! sidecars that were started before it), plus the pod's overhead: the formula of Kubernetes since native sidecars.

use serde_json::Value;

use super::view::list;

/// What is counted on a node. CPU in milli, memory and ephemeral storage in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub cpu: i128,
    pub memory: i128,
    pub storage: i128,
    pub pods: i128,
}

impl Requests {
    /// The effective requests of one pod.
    pub fn of_pod(pod: &Value) -> Self {
        let mut all = Self::of_containers(&pod["spec"], "requests");
        all.pods = 1;
        all
    }

    /// The same formula over `requests` or `limits`.
    pub fn of_containers(spec: &Value, side: &str) -> Self {
        let mut running = Self::default();
        let mut starting = Self::default();
        for container in list(&spec["initContainers"]) {
            let own = Self::of_list(&container["resources"][side]);
            if container["restartPolicy"] == "Always" {
                running.add(&own);
                starting.raise_to(&running);
            } else {
                let mut at_once = running;
                at_once.add(&own);
                starting.raise_to(&at_once);
            }
        }
        for container in list(&spec["containers"]) {
            running.add(&Self::of_list(&container["resources"][side]));
        }
        running.raise_to(&starting);
        running.add(&Self::of_list(&spec["overhead"]));
        running
    }

    /// A resource list such as `allocatable` or `requests`; what is missing is 0.
    pub fn of_list(list: &Value) -> Self {
        let unit =
            |name: &str, per: i128| quantity(&list[name]).map_or(0, |milli| ceil_div(milli, per));
        Self {
            cpu: unit("cpu", 1),
            memory: unit("memory", 1000),
            storage: unit("ephemeral-storage", 1000),
            pods: unit("pods", 1000),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.storage += other.storage;
        self.pods += other.pods;
    }

    pub fn subtract(&mut self, other: &Self) {
        self.cpu -= other.cpu;
        self.memory -= other.memory;
        self.storage -= other.storage;
        self.pods -= other.pods;
    }

    fn raise_to(&mut self, floor: &Self) {
        self.cpu = self.cpu.max(floor.cpu);
        self.memory = self.memory.max(floor.memory);
        self.storage = self.storage.max(floor.storage);
        self.pods = self.pods.max(floor.pods);
    }
}

fn ceil_div(milli: i128, per: i128) -> i128 {
    (milli + per - 1).div_euclid(per)
}

/// A quantity in thousandths of its unit, rounded up as the API server does; `None` if it is none.
pub(crate) fn quantity(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+' || c == '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (scale, divisor) = scale_of(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let negative = whole.starts_with('-');
    let digits: i128 = format!("{}{fraction}", whole.trim_start_matches(['+', '-']))
        .parse()
        .ok()?;
    let scaled = digits.checked_mul(scale)?.checked_mul(1000)?;
    let per = 10_i128
        .pow(u32::try_from(fraction.len()).ok()?)
        .checked_mul(divisor)?;
    let milli = ceil_div(scaled, per);
    Some(if negative { -milli } else { milli })
}

/// Multiplier and divisor of a suffix.
fn scale_of(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let decimal = |power: u32| Some((1000_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_in_every_notation() {
        for (text, milli) in [
            ("0", 0),
            ("100m", 100),
            ("1.5", 1500),
            (".5", 500),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("1E-2", 10),
            ("1n", 1),
            ("-1", -1000),
        ] {
            assert_eq!(quantity(&json!(text)), Some(milli), "{text}");
        }
        assert_eq!(quantity(&json!(2)), Some(2000));
        for text in ["", "Gi", "1x", "1..2", "one"] {
            assert_eq!(quantity(&json!(text)), None, "{text}");
        }
    }

    #[test]
    fn a_sidecar_counts_with_the_containers_and_below_later_init_containers() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let pod = json!({"spec": {
            "initContainers": [
                {"name": "early", "resources": of("900m")},
                {"name": "db", "restartPolicy": "Always", "resources": of("300m")},
                {"name": "late", "resources": of("500m")},
            ],
            "containers": [{"name": "app", "resources": of("400m")}],
        }});
        assert_eq!(
            Requests::of_pod(&pod),
            Requests {
                cpu: 900,
                memory: 0,
                storage: 0,
                pods: 1
            }
        );
        let mut without_early = pod.clone();
        without_early["spec"]["initContainers"][0]["resources"] = json!({});
        assert_eq!(Requests::of_pod(&without_early).cpu, 800);
        without_early["spec"]["containers"][0]["resources"] = of("600m");
        assert_eq!(Requests::of_pod(&without_early).cpu, 900);
    }
}
