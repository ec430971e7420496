//! RFC 6902, with the real server's one deviation: `replace` of a map member that is not there adds it.

use serde_json::{Value, json};

use crate::status::Status;

pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<(), Status> {
    let refused = || {
        let mut status = Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
        status.details = Some(json!({}));
        status
    };
    let operations = patch.as_array().ok_or_else(refused)?;
    operations.iter().try_for_each(|operation| step(object, operation).ok_or_else(refused))
}

/// `None` is an operation that fails.
fn step(object: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" | "replace" if operation.get("value").is_none() => None,
        "add" => add(object, path, operation["value"].clone()),
        "replace" => replace(object, path, operation["value"].clone()),
        "remove" => remove(object, path).map(|_| ()),
        "test" => (object.pointer(path)? == &operation["value"]).then_some(()),
        "copy" => {
            let value = object.pointer(operation["from"].as_str()?)?.clone();
            add(object, path, value)
        }
        "move" => {
            let value = remove(object, operation["from"].as_str()?)?;
            add(object, path, value)
        }
        _ => None,
    }
}

fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    match parent(object, path)? {
        (Value::Object(fields), key) => {
            fields.insert(key, value);
        }
        (Value::Array(items), key) if key == "-" => items.push(value),
        (Value::Array(items), key) => {
            let at = key.parse::<usize>().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn replace(object: &mut Value, path: &str, value: Value) -> Option<()> {
    match parent(object, path)? {
        (Value::Object(fields), key) => {
            fields.insert(key, value);
        }
        (Value::Array(items), key) => *items.get_mut(key.parse::<usize>().ok()?)? = value,
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<Value> {
    match parent(object, path)? {
        (Value::Object(fields), key) => fields.remove(&key),
        (Value::Array(items), key) => {
            let at = key.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_operations() {
        let mut object = json!({"a": {"b": "2", "z": 9}, "l": [1, 2]});
        let patch = json!([
            {"op": "test", "path": "/a/b", "value": "2"}, {"op": "replace", "path": "/a/b", "value": "3"},
            {"op": "add", "path": "/l/-", "value": 3}, {"op": "add", "path": "/l/0", "value": 0},
            {"op": "remove", "path": "/l/1"}, {"op": "copy", "from": "/a/b", "path": "/a/c"},
            {"op": "move", "from": "/a/z", "path": "/a/x~1y"},
        ]);
        apply(&mut object, &patch).unwrap();
        assert_eq!(object, json!({"a": {"b": "3", "c": "3", "x/y": 9}, "l": [0, 2, 3]}));
    }

    #[test]
    fn failing_operations() {
        for operation in [
            json!({"op": "test", "path": "/a", "value": 2}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "frobnicate", "path": "/a"}),
            json!({"op": "add", "path": "/a"}),
        ] {
            let refused = apply(&mut json!({"a": 1}), &json!([operation])).unwrap_err();
            assert_eq!(refused.code, 422, "{operation}");
        }
    }
}
