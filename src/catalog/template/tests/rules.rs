//! One bad example per rule, with exactly the message that an operator reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalog::template::from_json;

fn refused(mut document: Value, change: impl Fn(&mut Value)) -> Vec<String> {
    change(&mut document);
    from_json(document)
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
#[rustfmt::skip]
fn every_rule_refuses_its_bad_example() {
    type Change = fn(&mut Value);
    let cases: &[(&str, Change, &str)] = &[
        ("ghost", |t| t["slug"] = json!("Ghost_1"), "slug: must be a DNS label: lower-case letters, digits and inner hyphens, at most 31 characters"),
        ("ghost", |t| t["name"] = json!(" "), "name: must not be empty"),
        ("ghost", |t| t["categories"] = json!([]), "categories: must name at least one category"),
        ("ghost", |t| t["homepage"] = json!("http://ghost.org"), "homepage: must be an https:// address"),
        ("ghost", |t| { t["licence"]["spdx"] = json!(null); t["licence"]["url"] = json!(null); }, "licence: must give spdx, or url with an https:// address"),
        ("ghost", |t| t["grace_period_seconds"] = json!(60), "grace_period_seconds: must be between 120 and 600, is 60"),
        ("ghost", |t| t["fs_group"] = json!(0), "fs_group: must be greater than 0"),
        ("ghost", |t| t["components"][0]["role"] = json!("database"), "components: must hold a component with role app"),
        ("ghost", |t| t["components"][1]["name"] = json!("ghost"), "components[1].name: ghost is given twice"),
        ("ghost", |t| t["components"][1]["ports"][0]["port"] = json!(2368), "components[1].ports[0].port: 2368 is already a port of ghost, in the same pod"),
        ("ghost", |t| t["components"][0]["ports"][0]["name"] = json!("a-much-too-long-name"), "components[0].ports[0].name: must be a DNS label of at most 15 characters"),
        ("ghost", |t| t["components"][0]["mounts"][0]["volume"] = json!("other"), "components[0].mounts[0].volume: there is no volume other"),
        ("ghost", |t| t["components"][0]["mounts"][0]["path"] = json!("content"), "components[0].mounts[0].path: must be an absolute path without .."),
        ("ghost", |t| t["components"][0]["mounts"][0]["sub_path"] = json!("../mysql"), "components[0].mounts[0].sub_path: must be a relative path without .."),
        ("ghost", |t| t["components"][1]["probes"]["startup"]["check"] = json!({"tcp": {"port": "sql"}}), "components[1].probes.startup.check.tcp.port: component mysql has no port sql"),
        ("ghost", |t| t["components"][1]["probes"]["startup"]["check"] = json!({"exec": {"command": []}}), "components[1].probes.startup.check.exec.command: must name a program"),
        ("ghost", |t| t["components"][0]["probes"]["readiness"]["check"]["http"]["path"] = json!("x"), "components[0].probes.readiness.check.http.path: must start with /"),
        ("ghost", |t| t["components"][0]["probes"]["readiness"]["period_seconds"] = json!(0), "components[0].probes.readiness.period_seconds: must be between 1 and 600, is 0"),
        ("ghost", |t| t["components"][0]["security"]["run_as_user"] = json!(-1), "components[0].security.run_as_user: must not be negative"),
        ("ghost", |t| t["components"][0]["security"]["capabilities"] = json!(["SYS_ADMIN"]), "components[0].security.capabilities[0]: SYS_ADMIN is not allowed by Pod Security baseline"),
        ("ghost", |t| t["components"][0]["tmp_dirs"] = json!(["/tmp", "/tmp"]), "components[0].tmp_dirs[1]: /tmp is given twice"),
        ("ghost", |t| t["components"][0]["share"]["cpu_ppm"] = json!(500_000), "components: share.cpu_ppm must sum to 1000000, sums to 900000"),
        ("ghost", |t| t["components"][0]["share"]["memory_ppm"] = json!(600_000), "components: share.memory_ppm must sum to 1000000, sums to 1100000"),
        ("ghost", |t| t["components"][0]["image"]["tag"] = json!("latest"), "components[0].image.tag: \"latest\" is not pinned: name a full version, or give a digest"),
        ("ghost", |t| t["components"][0]["image"]["tag"] = json!("6-alpine"), "components[0].image.tag: \"6-alpine\" is not pinned: name a full version, or give a digest"),
        ("ghost", |t| t["components"][0]["image"]["repository"] = json!("ghost"), "components[0].image.repository: must be registry/path in lower case, without a tag"),
        ("ghost", |t| t["components"][0]["image"]["digest"] = json!("sha256:12"), "components[0].image.digest: must be sha256: and 64 hexadecimal digits"),
        ("ghost", |t| t["components"][0]["env"]["A-B"] = json!("c"), "components[0].env.A-B: is not a valid variable name"),
        ("ghost", |t| t["components"][0]["env"]["API_TOKEN"] = json!("abc"), "components[0].env.API_TOKEN: looks like a secret: take it from a generated one with {secret: key}"),
        ("ghost", |t| t["components"][0]["env"]["api__key"] = json!({"expr": "abc"}), "components[0].env.api__key: looks like a secret: take it from a generated one with {secret: key}"),
        ("ghost", |t| t["components"][0]["env"]["A"] = json!({"secret": "nope"}), "components[0].env.A: there is no secret nope"),
        ("ghost", |t| t["components"][0]["env"]["A"] = json!({"input": "nope"}), "components[0].env.A: there is no input nope"),
        ("ghost", |t| t["components"][0]["env"]["A"] = json!({"expr": "{{ hots }}"}), "components[0].env.A: undefined value"),
        ("ghost", |t| t["components"][0]["env"]["A"] = json!({"expr": "{{ inputs.nope }}"}), "components[0].env.A: undefined value"),
        ("ghost", |t| t["components"][0]["env"]["A"] = json!({"expr": "{{ host"}), "components[0].env.A: syntax error: unexpected end of input, expected end of variable block"),
        ("ghost", |t| t["components"][1]["config_files"][0]["content"] = json!("{{ component.ram }}"), "components[1].config_files[0].content: undefined value"),
        ("ghost", |t| t["volumes"][0]["disk_ppm"] = json!(900_000), "volumes: disk_ppm must sum to 1000000, sums to 900000"),
        ("ghost", |t| t["volumes"] = json!([{"name": "data", "disk_ppm": 500_000}, {"name": "more", "disk_ppm": 500_000}]), "volumes[1]: is mounted by no component"),
        ("ghost", |t| t["secrets"][2]["generator"] = json!({"password": {"length": 8}}), "secrets[2].generator.password.length: must be between 12 and 128, is 8"),
        ("ghost", |t| t["secrets"][2]["generator"] = json!({"literal": {"value": "hunter2"}}), "secrets[2].generator.literal: is for user names; what looks like a secret is generated"),
        ("ghost", |t| t["secrets"].as_array_mut().expect("a list").push(json!({"key": "spare", "label": "Spare", "generator": "uuid"})), "secrets[3]: is used by no variable, hash or account"),
        ("n8n", |t| t["secrets"][2]["generator"]["bcrypt_of"]["key"] = json!("nope"), "secrets[2].generator.bcrypt_of.key: there is no secret nope"),
        ("n8n", |t| t["secrets"][1]["generator"]["password"]["length"] = json!(80), "secrets[2].generator.bcrypt_of.key: owner_password is longer than the 72 bytes of bcrypt"),
        ("n8n", |t| t["inputs"][0]["required"] = json!(false), "inputs[0]: must be required or have a default"),
        ("n8n", |t| t["inputs"][0]["key"] = json!("Owner"), "inputs[0].key: must be lower-case letters, digits and underscores, starting with a letter"),
        ("n8n", |t| t["inputs"][1]["type"] = json!("enum"), "inputs[1].options: belongs to an enum, and an enum needs it"),
        ("n8n", |t| t["inputs"][1]["min"] = json!(3), "inputs[1]: min and max belong to an integer"),
        ("n8n", |t| t["inputs"][3]["pattern"] = json!("["), "inputs[3].pattern: is not a valid regular expression"),
        ("n8n", |t| t["inputs"][3]["default"] = json!("%"), "inputs[3].default: Must be the name of a time zone, such as Asia/Jakarta."),
        ("ghost", |t| t["ingress"]["component"] = json!("web"), "ingress.component: there is no component web"),
        ("ghost", |t| t["ingress"]["port"] = json!("web"), "ingress.port: component ghost has no port web"),
        ("ghost", |t| t["health"]["component"] = json!("web"), "health.component: there is no component web"),
        ("ghost", |t| t["backup"]["paths"] = json!([]), "backup.paths: must name what is saved"),
        ("ghost", |t| t["backup"]["quiesce"] = json!({"component": "ghost", "command": ["true"]}), "backup: quiesce and resume belong together"),
        ("ghost", |t| t["backup"]["dumps"][0]["component"] = json!("db"), "backup.dumps[0].component: there is no component db"),
        ("ghost", |t| t["plans"] = json!([]), "plans: must hold at least one plan"),
        ("ghost", |t| t["plans"][1]["code"] = json!("starter"), "plans[1].code: starter is given twice"),
        ("ghost", |t| t["plans"][0]["price_idr"] = json!(-1), "plans[0].price_idr: must not be negative"),
        ("ghost", |t| t["plans"][0]["cpu_request_milli"] = json!(1001), "plans[0].cpu_request_milli: must not exceed cpu_limit_milli"),
        ("ghost", |t| t["plans"][0]["mem_request_mib"] = json!(1025), "plans[0].mem_request_mib: must not exceed mem_limit_mib"),
        ("ghost", |t| t["plans"][0]["mem_limit_mib"] = json!(768), "plans[0].mem_limit_mib: 768 is less than the service's minimum of 1024 MiB"),
        ("ghost", |t| t["plans"][0]["cpu_limit_milli"] = json!(400), "plans[0].cpu_limit_milli: 400 is less than the service's minimum of 500 milli-CPU"),
        ("ghost", |t| t["plans"][0]["cpu_request_milli"] = json!(20), "plans[0]: leaves component mysql with 8 milli-CPU and 256 MiB; it needs 10 and 16"),
        ("ghost", |t| t["plans"][0]["disk_mib"] = json!(0), "plans[0].disk_mib: must be between 1 and 1073741824, is 0"),
        ("ghost", |t| t["plans"][0]["mem_limit_mib"] = json!(4_000_000_000_u32), "plans[0].mem_limit_mib: must be between 1 and 16777216, is 4000000000"),
        ("ghost", |t| t["first_admin"]["setup_pod"]["verify"]["env"] = json!({}), "first_admin.setup_pod.verify.env: must hold LUMBUNG_TARGET as an expr, the address to talk to"),
        ("ghost", |t| t["first_admin"]["setup_pod"]["setup"]["run_as_user"] = json!(0), "first_admin.setup_pod.setup.run_as_user: must be greater than 0: tasks never run as root"),
        ("ghost", |t| t["first_admin"]["setup_pod"]["account"]["password"] = json!("database_password"), "first_admin.setup_pod.account.password: must be a secret with shown_to_customer"),
        ("n8n", |t| t["first_admin"]["env_once"]["component"] = json!("web"), "first_admin.env_once.component: there is no component web"),
        ("wordpress", |t| t["first_admin"]["init"]["steps"] = json!([]), "first_admin.init.steps: must make the account"),
        ("wordpress", |t| t["first_admin"]["init"]["steps"][0]["name"] = json!("mariadb"), "first_admin.init.steps[0].name: is already the name of a component"),
        ("linkding", |t| t["first_admin"] = json!({"none": {"reason": ""}}), "first_admin.none.reason: must not be empty"),
        // Shapes: found while reading.
        ("ghost", |t| { t["first_admin"]["setup_pod"].as_object_mut().expect("a map").remove("verify"); }, "first_admin.setup_pod: missing field `verify`"),
        ("ghost", |t| { t["components"][1]["probes"].as_object_mut().expect("a map").remove("startup"); }, "components[1].probes: missing field `startup`"),
        ("ghost", |t| t["components"][1]["probes"]["startup"]["check"] = json!({"grpc": {}}), "components[1].probes.startup.check: unknown variant `grpc`, expected one of `http`, `exec`, `tcp`"),
        ("ghost", |t| t["components"][0]["env"]["PORT"] = json!(80), "components[0].env.PORT: invalid type: integer `80`, expected a quoted string, or one of {secret: key}, {input: key}, {expr: template}"),
        ("ghost", |t| t["components"][0]["env"]["PORT"] = json!({"secret": "a", "input": "b"}), "components[0].env.PORT: give exactly one of secret, input, expr"),
        ("ghost", |t| t["components"][0]["privileged"] = json!(true), "components[0].privileged: unknown field `privileged`"),
        ("ghost", |t| t["licence"]["hosted_resale"] = json!("maybe"), "licence.hosted_resale: unknown variant `maybe`, expected one of `allowed`, `restricted`, `forbidden`"),
    ];
    let mut documents: BTreeMap<&str, Value> = BTreeMap::new();
    for (slug, change, message) in cases {
        let document = documents.entry(slug).or_insert_with(|| {
            serde_json::to_value(super::embedded(slug)).expect("a template is JSON")
        });
        let messages = refused(document.clone(), change);
        assert!(
            messages.iter().any(|found| found == message || found.starts_with(&format!("{message}, expected"))),
            "expected {message:?}, got {messages:#?}"
        );
    }
}
