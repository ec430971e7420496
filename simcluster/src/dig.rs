//! Reading and writing JSON by dotted paths: what is absent reads as nothing, and is made when it is written.
//!
//! A step that is a number goes into a list. Names that contain dots (labels, annotations) are read by index instead.

use serde_json::{Value, json};

static NULL: Value = Value::Null;

#[allow(dead_code, reason = "a vocabulary")]
pub(crate) trait Dig {
    /// The value at a path; null if any step is missing.
    fn at(&self, path: &str) -> &Value;
    fn at_mut(&mut self, path: &str) -> Option<&mut Value>;
    /// Sets a field, making the objects on the way to it.
    fn put(&mut self, path: &str, value: impl Into<Value>);
    fn remove(&mut self, path: &str);

    /// A text; empty if there is none.
    fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    fn int(&self, path: &str) -> Option<i64> {
        self.at(path).as_i64()
    }

    fn has(&self, path: &str) -> bool {
        !self.at(path).is_null()
    }

    /// Whether it is the boolean `true`.
    fn yes(&self, path: &str) -> bool {
        self.at(path) == &Value::Bool(true)
    }

    /// The items of a list; none for anything else.
    fn items(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map_or(&[], Vec::as_slice)
    }

    fn items_mut(&mut self, path: &str) -> &mut [Value] {
        self.at_mut(path).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
    }

    /// The fields of an object; none for anything else.
    fn fields(&self, path: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.at(path).as_object().into_iter().flatten()
    }

    /// Sets a field that is absent.
    fn default(&mut self, path: &str, value: impl Into<Value>) {
        if !self.has(path) {
            self.put(path, value);
        }
    }
}

impl Dig for Value {
    fn at(&self, path: &str) -> &Value {
        if path.is_empty() {
            return self;
        }
        path.split('.').try_fold(self, |at, step| child(at, step)).unwrap_or(&NULL)
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        path.split('.').filter(|step| !step.is_empty()).try_fold(self, |at, step| match at {
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            other => other.get_mut(step),
        })
    }

    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let target = path.split('.').fold(self, |at, step| {
            let place = step.parse::<usize>().ok().filter(|i| at.as_array().is_some_and(|list| *i < list.len()));
            if let Some(place) = place {
                return &mut at[place];
            }
            if !at.is_object() {
                *at = json!({});
            }
            &mut at[step]
        });
        *target = value.into();
    }

    fn remove(&mut self, path: &str) {
        let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
        if let Some(Value::Object(fields)) = self.at_mut(parent) {
            fields.remove(last);
        }
    }
}

fn child<'a>(at: &'a Value, step: &str) -> Option<&'a Value> {
    match at {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_reads_as_nothing_and_is_made_when_written() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "n": 2, "on": true}});
        assert_eq!((pod.text("spec.containers.0.name"), pod.text("spec.containers.1.name")), ("a", ""));
        assert_eq!((pod.int("spec.n"), pod.int("spec.x.y"), pod.yes("spec.on")), (Some(2), None, true));
        pod.put("spec.containers.0.resources.limits.cpu", "1");
        pod.default("spec.n", 9);
        pod.default("status.phase", "Pending");
        pod.remove("spec.on");
        let expected = json!({
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}], "n": 2},
            "status": {"phase": "Pending"},
        });
        assert_eq!(pod, expected);
        assert_eq!(pod.items("spec.containers").len() + pod.items("spec.none").len(), 1);
    }
}
