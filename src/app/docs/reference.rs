//! The OpenAPI document as the page shows it: operations by tag, with what goes in and what comes out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::problems::code_of;
use super::schema::{Field, Reader};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// In the order in which a newcomer needs them. Tags that are not here follow by name, and staff's come last.
const FIRST: [&str; 7] = [
    "auth",
    "catalogue",
    "subscriptions",
    "billing",
    "instances",
    "operations",
    "live",
];
const LAST: &str = "admin";

#[derive(Debug, Serialize)]
pub struct Page {
    title: String,
    version: String,
    description: String,
    server: String,
    tags: Vec<Tag>,
    count: usize,
}

#[derive(Debug, Serialize)]
struct Tag {
    name: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    /// The lowest role that may call it; `public` for none.
    role: String,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: Vec<Answer>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Parameter {
    name: String,
    place: String,
    r#type: String,
    required: bool,
    description: String,
    rules: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Body {
    media: String,
    r#type: String,
    fields: Vec<Field>,
    example: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: String,
    description: String,
    body: Option<Body>,
}

#[derive(Debug, Serialize)]
struct Problem {
    status: String,
    title: String,
    code: Option<&'static str>,
}

/// Reads any OpenAPI document; what it lacks is empty here.
pub fn read(openapi: &Value) -> Page {
    let mut tags: BTreeMap<(usize, String), Vec<Operation>> = BTreeMap::new();
    for (path, item) in openapi["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let operation = &item[method];
            if operation.is_object() {
                let tag = operation["tags"][0].as_str().unwrap_or("other").to_owned();
                let first = FIRST.iter().position(|first| *first == tag);
                let rank = first.unwrap_or(FIRST.len() + usize::from(tag == LAST));
                tags.entry((rank, tag))
                    .or_default()
                    .push(read_operation(openapi, path, method, operation));
            }
        }
    }
    Page {
        title: text(&openapi["info"]["title"]),
        version: text(&openapi["info"]["version"]),
        description: text(&openapi["info"]["description"]),
        server: text(&openapi["servers"][0]["url"]),
        count: tags.values().map(Vec::len).sum(),
        tags: tags
            .into_iter()
            .map(|((_, name), operations)| Tag { name, operations })
            .collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn read_operation(openapi: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let reader = Reader::new(openapi);
    let responses = || operation["responses"].as_object().into_iter().flatten();
    let answers = responses()
        .filter(|(status, _)| !is_problem(status))
        .map(|(status, response)| Answer {
            status: status.clone(),
            description: text(&response["description"]),
            body: read_body(reader, response),
        });
    let problems = responses()
        .filter(|(status, _)| is_problem(status))
        .map(|(status, response)| {
            let title = text(&response["description"]);
            Problem {
                status: status.clone(),
                code: code_of(&title),
                title,
            }
        });
    let unnamed = || format!("{method}{}", path.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    Operation {
        id: operation["operationId"].as_str().map_or_else(unnamed, str::to_owned),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: text(&operation["description"]),
        role: role(&operation["security"]),
        parameters: list(&operation["parameters"])
            .map(|one| read_parameter(reader, one))
            .collect(),
        body: read_body(reader, &operation["requestBody"]),
        answers: answers.collect(),
        problems: problems.collect(),
    }
}

fn is_problem(status: &str) -> bool {
    status.starts_with(['4', '5']) || status == "default"
}

fn role(security: &Value) -> String {
    let mut scopes = list(security)
        .flat_map(|one| one.as_object().into_iter().flatten())
        .flat_map(|(_, scopes)| list(scopes));
    scopes.find_map(Value::as_str).unwrap_or("public").to_owned()
}

fn read_parameter<'a>(reader: Reader<'a>, parameter: &'a Value) -> Parameter {
    Parameter {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        r#type: reader.type_of(&parameter["schema"]),
        required: parameter["required"] == true,
        description: text(&parameter["description"]),
        rules: reader.rules(&parameter["schema"]),
    }
}

fn read_body<'a>(reader: Reader<'a>, holder: &'a Value) -> Option<Body> {
    let (media, content) = holder["content"].as_object()?.iter().next()?;
    let schema = &content["schema"];
    let example = if content["example"].is_null() {
        reader.example(schema)
    } else {
        content["example"].clone()
    };
    Some(Body {
        media: media.clone(),
        r#type: reader.type_of(schema),
        fields: reader.fields(schema),
        example: serde_json::to_string_pretty(&example).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_is_read_whole() {
        let page = read(&json!({
            "info": {"title": "T", "version": "1"}, "servers": [{"url": "http://x"}],
            "paths": {
                "/b": {"delete": {"operationId": "b", "tags": ["zebra"], "responses": {}}},
                "/a/{id}": {"post": {
                    "operationId": "a", "tags": ["auth"], "summary": "S", "security": [{"bearer": ["admin"]}],
                    "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string", "maxLength": 5}}],
                    "requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}}},
                    "responses": {
                        "201": {"description": "Made", "content": {"application/json": {"schema": {"type": "string"}}}},
                        "404": {"description": "There is no such thing here"},
                        "409": {"description": "Something of its own"}}
                }}
            }
        }));
        assert_eq!(page.count, 2);
        assert_eq!(
            page.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(),
            ["auth", "zebra"]
        );
        let a = &page.tags[0].operations[0];
        assert_eq!(
            (a.method.as_str(), a.role.as_str(), a.parameters[0].place.as_str()),
            ("POST", "admin", "path")
        );
        assert_eq!(a.parameters[0].rules, ["at most 5 characters"]);
        assert_eq!(a.body.as_ref().unwrap().example, "{\n  \"n\": 0\n}");
        assert_eq!(
            (a.answers.len(), a.answers[0].body.as_ref().unwrap().r#type.as_str()),
            (1, "string")
        );
        let codes: Vec<_> = a.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Some("not-found"), None]);
        assert_eq!(page.tags[1].operations[0].role, "public");
    }

    #[test]
    fn a_document_without_anything_is_an_empty_page() {
        assert_eq!(read(&json!({})).count, 0);
    }
}
