//! Reading and writing JSON by dotted paths: what is absent reads as nothing, and is made when it is written.
//!
//! A step that is a number goes into a list. Names that contain dots (labels, annotations) are read by index instead.

use serde_json::{Value, json};

static NULL: Value = Value::Null;

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

    /// Adds an item to a list, which is made if there is none.
    fn push(&mut self, path: &str, item: impl Into<Value>) {
        match self.at_mut(path) {
            Some(Value::Array(items)) => items.push(item.into()),
            _ => self.put(path, vec![item.into()]),
        }
    }

    /// Sets a field, or takes it away with null.
    fn put_or_remove(&mut self, path: &str, value: Value) {
        if value.is_null() { self.remove(path) } else { self.put(path, value) }
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    // `split` has a searcher to set up, which costs more than these short texts.
    std::iter::from_fn(move || {
        let end = rest.bytes().position(|byte| byte == b'.').unwrap_or(rest.len());
        let step = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        (!step.is_empty()).then_some(step)
    })
}

impl Dig for Value {
    fn at(&self, path: &str) -> &Value {
        let found = steps(path).try_fold(self, |at, step| match at {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        });
        found.unwrap_or(&NULL)
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        steps(path).try_fold(self, |at, step| match at {
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            other => other.get_mut(step),
        })
    }

    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let target = steps(path).fold(self, |at, step| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_reads_as_nothing_and_is_made_when_written() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "on": true}});
        assert_eq!((pod.text("spec.containers.0.name"), pod.text("spec.containers.1.name")), ("a", ""));
        pod.put("spec.containers.0.cpu", "1");
        pod.default("status.phase", "Pending");
        pod.remove("spec.on");
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "a", "cpu": "1"}]}, "status": {"phase": "Pending"}}));
    }
}
