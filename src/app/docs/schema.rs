//! JSON Schema as people read it: a list of fields, and an example.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Deeper than any of ours; what goes on in circles ends here.
const DEPTH: usize = 6;

/// One line of a list of fields.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    /// How deep it is nested; the templates indent by it.
    pub depth: usize,
    pub r#type: String,
    pub required: bool,
    pub description: String,
    /// Limits and allowed values, in words.
    pub rules: Vec<String>,
}

/// Reads schemas of one document.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    document: &'a Value,
}

/// The kinds that a schema is made of, after references and nullability are taken off.
struct Flat<'a> {
    schema: &'a Value,
    name: Option<&'a str>,
    nullable: bool,
}

impl<'a> Reader<'a> {
    pub fn new(document: &'a Value) -> Self {
        Self { document }
    }

    /// Follows references, and unwraps "this or null".
    fn flat(self, schema: &'a Value) -> Flat<'a> {
        let mut flat = Flat {
            schema,
            name: None,
            nullable: false,
        };
        for _ in 0..DEPTH {
            if let Some(pointer) = flat.schema["$ref"].as_str() {
                let Some(target) = self.document.pointer(pointer.trim_start_matches('#')) else {
                    break;
                };
                flat.name = pointer.rsplit('/').next();
                flat.schema = target;
                continue;
            }
            let choices = flat.schema["oneOf"]
                .as_array()
                .or_else(|| flat.schema["anyOf"].as_array());
            let (nulls, others): (Vec<_>, Vec<_>) = choices
                .into_iter()
                .flatten()
                .partition(|choice| choice["type"] == "null");
            match others.as_slice() {
                [one] => {
                    flat.nullable |= !nulls.is_empty();
                    flat.schema = one;
                }
                _ => break,
            }
        }
        let types = flat.schema["type"].as_array();
        flat.nullable |= types.is_some_and(|types| types.iter().any(|one| one == "null"));
        flat
    }

    /// Several schemas at once (`allOf`), or one of several (`oneOf`).
    fn parts(schema: &'a Value, keyword: &str) -> impl Iterator<Item = &'a Value> {
        schema[keyword].as_array().into_iter().flatten()
    }

    /// The type in words: `string (uuid)`, `array of Plan`, `one of A, B`.
    pub fn type_of(self, schema: &'a Value) -> String {
        let flat = self.flat(schema);
        let plain = |one: &'a Value| match one {
            Value::Array(types) => types.iter().find(|one| *one != "null").and_then(Value::as_str),
            other => other.as_str(),
        };
        let mut text = match plain(&flat.schema["type"]) {
            Some("array") => format!("array of {}", self.type_of(&flat.schema["items"])),
            Some("object") if flat.name.is_some() => flat.name.unwrap_or_default().to_owned(),
            Some(name) => match flat.schema["format"].as_str() {
                Some(format) if !format.starts_with("int") => format!("{name} ({format})"),
                _ => name.to_owned(),
            },
            None => {
                let choices: Vec<_> = Self::parts(flat.schema, "oneOf")
                    .chain(Self::parts(flat.schema, "anyOf"))
                    .collect();
                match (flat.name, choices.as_slice()) {
                    (Some(name), _) => name.to_owned(),
                    (None, []) => "any".to_owned(),
                    (None, choices) => {
                        let all: Vec<_> = choices.iter().map(|choice| self.type_of(choice)).collect();
                        format!("one of {}", all.join(", "))
                    }
                }
            }
        };
        if flat.nullable {
            text.push_str(" or null");
        }
        text
    }

    /// All fields, depth first.
    pub fn fields(self, schema: &'a Value) -> Vec<Field> {
        let mut fields = Vec::new();
        self.collect(schema, 0, &mut fields);
        fields
    }

    fn collect(self, schema: &'a Value, depth: usize, fields: &mut Vec<Field>) {
        if depth >= DEPTH {
            return;
        }
        let schema = self.flat(schema).schema;
        if schema["items"].is_object() {
            return self.collect(&schema["items"], depth, fields);
        }
        for part in ["allOf", "oneOf", "anyOf"]
            .into_iter()
            .flat_map(|keyword| Self::parts(schema, keyword))
        {
            self.collect(part, depth, fields);
        }
        let required: Vec<_> = Self::parts(schema, "required").filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let field = Field {
                name: name.clone(),
                depth,
                r#type: self.type_of(property),
                required: required.contains(&name.as_str()),
                description: self.description(property),
                rules: self.rules(property),
            };
            // Variants of one shape share fields; each is listed once.
            if !fields.contains(&field) || depth > 0 {
                fields.push(field);
                self.collect(property, depth + 1, fields);
            }
        }
    }

    fn description(self, schema: &'a Value) -> String {
        let own = schema["description"].as_str();
        own.or_else(|| self.flat(schema).schema["description"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// Limits in words.
    pub fn rules(self, schema: &'a Value) -> Vec<String> {
        let flat = self.flat(schema).schema;
        let mut rules = Vec::new();
        let values: Vec<_> = Self::parts(flat, "enum")
            .map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
            .collect();
        if !values.is_empty() {
            rules.push(values.join(" | "));
        }
        for (keyword, before, after) in [
            ("minLength", "at least ", " characters"),
            ("maxLength", "at most ", " characters"),
            ("minimum", "from ", ""),
            ("maximum", "up to ", ""),
            ("minItems", "at least ", " items"),
            ("maxItems", "at most ", " items"),
            ("pattern", "matches ", ""),
            ("default", "default ", ""),
        ] {
            // A limit may stand beside a reference.
            let limit = if schema[keyword].is_null() {
                &flat[keyword]
            } else {
                &schema[keyword]
            };
            match limit {
                Value::Null => {}
                Value::String(text) => rules.push(format!("{before}{text}{after}")),
                other => rules.push(format!("{before}{other}{after}")),
            }
        }
        rules
    }

    /// A value of this shape.
    pub fn example(self, schema: &'a Value) -> Value {
        self.sample(schema, 0)
    }

    fn sample(self, schema: &'a Value, depth: usize) -> Value {
        for given in ["example", "const", "default"] {
            if !schema[given].is_null() {
                return schema[given].clone();
            }
        }
        if let Some(first) = schema["examples"].get(0) {
            return first.clone();
        }
        let schema = self.flat(schema).schema;
        if depth >= DEPTH {
            return Value::Null;
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        let mut object = Map::new();
        let first_choice = Self::parts(schema, "oneOf").chain(Self::parts(schema, "anyOf")).take(1);
        for part in Self::parts(schema, "allOf").chain(first_choice) {
            match self.sample(part, depth + 1) {
                Value::Object(fields) => object.extend(fields),
                other if schema["properties"].is_null() => return other,
                _ => {}
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            object.insert(name.clone(), self.sample(property, depth + 1));
        }
        let is = |name: &str| schema["type"] == name || Self::parts(schema, "type").any(|one| one == name);
        if !object.is_empty() || is("object") {
            return Value::Object(object);
        }
        if is("array") {
            return json!([self.sample(&schema["items"], depth + 1)]);
        }
        if is("string") {
            return json!(match schema["format"].as_str() {
                Some("uuid") => "0199d2f0-5c1e-7a3b-9c4d-1f2e3a4b5c6d",
                Some("date-time") => "2026-03-01T00:00:00Z",
                Some("email") => "budi@example.com",
                Some("uri") => "https://example.com",
                _ => "string",
            });
        }
        if is("integer") || is("number") {
            return if schema["minimum"].is_null() {
                json!(0)
            } else {
                schema["minimum"].clone()
            };
        }
        if is("boolean") { json!(true) } else { Value::Null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Kind": {"type": "string", "enum": ["a", "b"], "description": "Which."},
            "Leaf": {"type": "object", "required": ["kind"], "properties": {
                "kind": {"$ref": "#/components/schemas/Kind"},
                "at": {"type": ["string", "null"], "format": "date-time"}}},
            "Tree": {"type": "object", "properties": {
                "leaf": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Leaf"}]},
                "count": {"type": "integer", "format": "int64", "minimum": 3},
                "below": {"type": "array", "maxItems": 2, "items": {"$ref": "#/components/schemas/Tree"}}}},
            "Either": {"oneOf": [{"type": "string"}, {"type": "integer"}]}
        }}})
    }

    fn of(name: &str) -> Value {
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    #[test]
    fn types_are_said_in_words() {
        let document = document();
        let reader = Reader::new(&document);
        let tree = &document["components"]["schemas"]["Tree"]["properties"];
        for (schema, text) in [
            (&tree["leaf"], "Leaf or null"),
            (&tree["below"], "array of Tree"),
            (&tree["count"], "integer"),
            (
                &document["components"]["schemas"]["Leaf"]["properties"]["at"],
                "string (date-time) or null",
            ),
            (&document["components"]["schemas"]["Either"], "one of string, integer"),
        ] {
            assert_eq!(reader.type_of(schema), text);
        }
    }

    #[test]
    fn fields_are_nested_and_circles_end() {
        let (document, leaf, tree) = (document(), of("Leaf"), of("Tree"));
        let reader = Reader::new(&document);
        let fields = reader.fields(&leaf);
        let kind = fields.iter().find(|field| field.name == "kind").unwrap();
        assert!(kind.required);
        assert_eq!(
            (kind.description.as_str(), kind.rules.as_slice()),
            ("Which.", &["a | b".to_owned()][..])
        );
        let fields = reader.fields(&tree);
        assert!(fields.iter().any(|field| field.name == "kind" && field.depth == 1));
        assert_eq!(fields.iter().map(|field| field.depth).max(), Some(DEPTH - 1));
    }

    #[test]
    fn examples_have_the_shape() {
        let (document, leaf, tree) = (document(), of("Leaf"), of("Tree"));
        let reader = Reader::new(&document);
        assert_eq!(
            reader.example(&leaf),
            json!({"kind": "a", "at": "2026-03-01T00:00:00Z"})
        );
        let tree = reader.example(&tree);
        assert_eq!((&tree["count"], &tree["leaf"]["kind"]), (&json!(3), &json!("a")));
    }

    #[test]
    fn what_it_does_not_know_is_any() {
        let document = json!({});
        let (odd, lost) = (json!(true), of("Nowhere"));
        let reader = Reader::new(&document);
        for schema in [&odd, &lost] {
            assert_eq!(reader.type_of(schema), "any");
            assert!(reader.fields(schema).is_empty());
            assert_eq!(reader.example(schema), Value::Null);
        }
    }
}
