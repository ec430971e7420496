//! Our own templates pass, and what is derived from them is right.

mod rules;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::clock::Entropy;

fn embedded(slug: &str) -> Template {
    load_embedded()
        .expect("ours are valid")
        .into_iter()
        .find(|template| template.slug == slug)
        .expect("known slug")
}

#[test]
fn our_templates_are_valid_and_survive_a_round_trip_through_the_database_format() {
    let templates = load_embedded().expect("ours are valid");
    let slugs: Vec<&str> = templates.iter().map(|template| template.slug.as_str()).collect();
    assert_eq!(slugs, ["ghost", "linkding", "n8n", "vaultwarden", "wordpress"]);
    for template in templates {
        let value = serde_json::to_value(&template).expect("a template is JSON");
        assert_eq!(from_json(value), Ok(template));
    }
}

#[test]
fn a_directory_is_refused_with_file_and_field_of_every_problem() {
    let dir = std::env::temp_dir().join(format!("lumbung-templates-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let ours = include_str!("../templates/linkding.yaml");
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("a file");
    write("a.yaml", ours);
    assert_eq!(load_dir(&dir).expect("valid").len(), 1);
    write("b.yaml", &ours.replace("tag: 1.47.0", "tag: latest"));
    write("c.yml", ours);
    write("d.yaml", "slug: [");
    write("readme.txt", "not a template");
    let error = load_dir(&dir).expect_err("three of four are wrong").lines;
    let at = |name: &str| dir.join(name).display().to_string();
    assert_eq!(
        error[0],
        format!(
            "{}: components[0].image.tag: \"latest\" is not pinned: name a full version, or give a digest",
            at("b.yaml")
        )
    );
    assert_eq!(
        error[1],
        format!("{}: slug: linkding is already used by another file", at("c.yml"))
    );
    assert!(
        error[2].starts_with(&format!("{}: not YAML: ", at("d.yaml"))),
        "{}",
        error[2]
    );
    assert_eq!(error.len(), 3);
    std::fs::remove_dir_all(&dir).expect("our directory");
    assert!(load_dir(&dir).expect_err("gone").lines[0].starts_with(&dir.display().to_string()));
}

#[test]
fn answers_are_checked_all_at_once_and_defaults_filled_in() {
    let n8n = embedded("n8n");
    let inputs = validate_inputs(&n8n, &json!({"owner_email": "a@b.co", "timezone": null})).expect("complete");
    assert_eq!(
        inputs.get("timezone"),
        Some(&InputValue::Text("Asia/Jakarta".to_owned()))
    );
    let refused = |answers: Value| -> Vec<(String, String)> {
        let errors = validate_inputs(&n8n, &answers).expect_err("wrong answers");
        errors.into_iter().map(|error| (error.pointer, error.detail)).collect()
    };
    let pair = |pointer: &str, detail: &str| (pointer.to_owned(), detail.to_owned());
    assert_eq!(refused(json!([])), [pair("", "must be an object")]);
    assert_eq!(refused(Value::Null), [pair("/owner_email", "is required")]);
    assert_eq!(
        refused(
            json!({"owner_email": "a@b", "x/y": 1, "owner_first_name": "a\nb", "owner_last_name": "n".repeat(33), "timezone": "../etc"})
        ),
        [
            pair("/x~1y", "n8n has no such input"),
            pair("/owner_email", "must be an e-mail address"),
            pair(
                "/owner_first_name",
                "must not contain line breaks or control characters"
            ),
            pair("/owner_last_name", "must have at most 32 characters"),
            pair("/timezone", "Must be the name of a time zone, such as Asia/Jakarta."),
        ]
    );
    assert_eq!(
        refused(json!({"owner_email": 7})),
        [pair("/owner_email", "must be a text")]
    );
    assert_eq!(
        refused(json!({"owner_email": "  "})),
        [pair("/owner_email", "must not be empty")]
    );
}

#[test]
fn other_kinds_of_input_are_checked_too() {
    let spec = |text: Value| serde_json::from_value::<InputSpec>(text).expect("an input");
    let size = spec(json!({"key": "size", "label": "Size", "type": "integer", "min": 1, "max": 9}));
    assert_eq!(size.accept(&json!(9)), Ok(InputValue::Integer(9)));
    assert_eq!(size.accept(&json!(10)), Err("must be between 1 and 9".to_owned()));
    assert_eq!(size.accept(&json!(1.5)), Err("must be a whole number".to_owned()));
    let flag = spec(json!({"key": "flag", "label": "Flag", "type": "bool"}));
    assert_eq!(flag.accept(&json!(true)), Ok(InputValue::Bool(true)));
    assert_eq!(flag.accept(&json!("true")), Err("must be true or false".to_owned()));
    let choice = spec(json!({"key": "c", "label": "C", "type": "enum", "options": ["a", "b"]}));
    assert_eq!(choice.accept(&json!("b")), Ok(InputValue::Text("b".to_owned())));
    assert_eq!(choice.accept(&json!("c")), Err("must be one of a, b".to_owned()));
}

#[test]
fn secrets_are_reproducible_from_the_random_numbers_and_hashes_match_their_source() {
    let all = |slug: &str, seed: u64| {
        generate(&embedded(slug).secrets, &BTreeMap::new(), &Entropy::seeded(seed)).expect("generated")
    };
    let n8n = all("n8n", 1);
    assert_eq!(n8n, all("n8n", 1));
    assert_ne!(n8n, all("n8n", 2));
    assert_eq!(n8n["owner_password"].len(), 24);
    assert_eq!(n8n["encryption_key"].len(), 64);
    assert_eq!(
        bcrypt::verify(&n8n["owner_password"], &n8n["owner_password_hash"]).ok(),
        Some(true)
    );
    assert!(n8n["owner_password_hash"].starts_with("$2b$10$"));

    let vault = all("vaultwarden", 1);
    let hash = argon2::password_hash::phc::PasswordHash::new(&vault["admin_token_hash"]).expect("a PHC string");
    let verified =
        argon2::PasswordVerifier::verify_password(&argon2::Argon2::default(), vault["admin_token"].as_bytes(), &hash);
    assert_eq!(verified, Ok(()));
    assert!(vault["admin_token_hash"].starts_with("$argon2id$v=19$"));
    assert_eq!(all("linkding", 1)["admin_username"], "owner");
}

#[test]
fn kept_secrets_win_and_keep_their_hashes() {
    let specs = embedded("n8n").secrets;
    let first = generate(&specs, &BTreeMap::new(), &Entropy::seeded(1)).expect("generated");
    let again = generate(&specs, &first, &Entropy::seeded(2)).expect("generated");
    assert_eq!(first, again);
    let only_hash: BTreeMap<_, _> = [("owner_password_hash".to_owned(), "stale".to_owned())].into();
    let fresh = generate(&specs, &only_hash, &Entropy::seeded(3)).expect("generated");
    assert_eq!(
        bcrypt::verify(&fresh["owner_password"], &fresh["owner_password_hash"]).ok(),
        Some(true)
    );
}

#[test]
fn a_customers_text_reaches_a_json_body_and_a_manifest_unharmed() {
    let ghost = embedded("ghost");
    let title = r#"A "quoted" $(OWNER_PASSWORD) \ title"#;
    let inputs = validate_inputs(&ghost, &json!({"owner_email": "a@b.co", "site_title": title})).expect("accepted");
    let plan = &ghost.plans[0];
    let facts = Facts {
        instance_id: "i".to_owned(),
        host: "h.example".to_owned(),
        url: "https://h.example".to_owned(),
        target: "http://s.n.svc:2368".to_owned(),
        plan: plan.into(),
        component: plan.resources(),
        inputs,
    };
    let setup = ghost.first_admin.setup().expect("Ghost has a setup pod");
    let env: BTreeMap<_, _> = facts
        .resolve(&setup.env)
        .expect("renders")
        .into_iter()
        .map(|env| (env.name, env.value))
        .collect();
    let Resolved::Plain(body) = &env["SITE_TITLE_JSON"] else {
        panic!("an expression is plain")
    };
    assert_eq!(serde_json::from_str::<String>(body).expect("JSON"), title);
    assert_eq!(env["OWNER_PASSWORD"], Resolved::SecretKey("owner_password".to_owned()));
    assert_eq!(env["LUMBUNG_TARGET"], Resolved::Plain("http://s.n.svc:2368".to_owned()));
    assert_eq!(escape_for_kubernetes("$(A) $$"), "$$(A) $$$$");
}

#[test]
fn ghost_and_its_database_share_the_smallest_plan() {
    let ghost = embedded("ghost");
    let plan = ghost.plan("starter").expect("the default plan");
    let shares = ghost.share_out(&plan.resources());
    let resources = |cpu_request_milli, cpu_limit_milli, mem_request_mib, mem_limit_mib| Resources {
        cpu_request_milli,
        cpu_limit_milli,
        mem_request_mib,
        mem_limit_mib,
    };
    assert_eq!(shares, [resources(150, 600, 256, 512), resources(100, 400, 256, 512)]);
    let volumes: Vec<_> = ghost
        .volume_sizes(plan.disk_mib)
        .into_iter()
        .map(|(v, mib)| (v.name.as_str(), mib))
        .collect();
    assert_eq!(volumes, [("data", 5120)]);
    let facts = Facts {
        instance_id: "i".to_owned(),
        host: "h".to_owned(),
        url: "https://h".to_owned(),
        target: "http://t".to_owned(),
        plan: plan.into(),
        component: shares[1],
        inputs: Inputs::default(),
    };
    let config = facts
        .render("my.cnf", &ghost.components[1].config_files[0].content)
        .expect("renders");
    assert!(config.contains("innodb_buffer_pool_size = 128M\n"), "{config}");
    assert!(config.contains("performance_schema = OFF\n"), "{config}");
}

#[test]
fn the_owner_variables_of_n8n_leave_once_the_owner_is_verified() {
    let n8n = embedded("n8n");
    let component = n8n.component("n8n").expect("its component");
    let before = n8n.component_env(component, false);
    let after = n8n.component_env(component, true);
    assert_eq!(
        before["N8N_INSTANCE_OWNER_MANAGED_BY_ENV"],
        EnvValue::Literal("true".to_owned())
    );
    assert_eq!(
        after["N8N_INSTANCE_OWNER_MANAGED_BY_ENV"],
        EnvValue::Literal("false".to_owned())
    );
    assert!(before.contains_key("N8N_INSTANCE_OWNER_PASSWORD_HASH"));
    assert!(!after.contains_key("N8N_INSTANCE_OWNER_PASSWORD_HASH"));
    assert_eq!(n8n.ingress_port().map(|port| port.port), Some(5678));
}
