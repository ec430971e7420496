//! Sets of field paths as trees, in the form of `fieldsV1`.
//!
//! An edge is `f:name` (a field or map key), `k:{...}` (an item of a keyed list) or `v:...` (an item of a set). A path is
//! in the set when its node is a member; a node that is no member only leads to others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub member: bool,
    pub children: BTreeMap<String, Set>,
}

impl Set {
    pub fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Adds a child unless it is empty.
    pub fn put(&mut self, edge: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(edge, child);
        }
    }

    pub fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (edge, child) in &other.children {
            self.children.entry(edge.clone()).or_default().union(child);
        }
    }

    /// Takes out the paths that are in `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (edge, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(edge) {
                ours.subtract(theirs);
                if ours.is_empty() {
                    self.children.remove(edge);
                }
            }
        }
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (edge, ours) in &self.children {
            if let Some(theirs) = other.children.get(edge) {
                both.put(edge.clone(), ours.intersection(theirs));
            }
        }
        both
    }

    /// Takes out one path of fields.
    pub fn remove_path(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            self.member = false;
            return;
        };
        let edge = format!("f:{first}");
        if let Some(child) = self.children.get_mut(&edge) {
            child.remove_path(rest);
            if child.is_empty() {
                self.children.remove(&edge);
            }
        }
    }

    pub fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".into(), json!({}));
        }
        for (edge, child) in &self.children {
            fields.insert(edge.clone(), child.to_fields_v1());
        }
        Value::Object(fields)
    }

    /// The whole of a stored `fieldsV1`; the top is never a member.
    pub fn from_fields_v1(fields: &Value) -> Self {
        let mut set = Self::node(fields);
        set.member = false;
        set
    }

    fn node(fields: &Value) -> Self {
        let empty = Map::new();
        let fields = fields.as_object().unwrap_or(&empty);
        let children: BTreeMap<String, Self> = fields
            .iter()
            .filter(|(edge, _)| *edge != ".")
            .map(|(edge, child)| (edge.clone(), Self::node(child)))
            .collect();
        Self { member: fields.contains_key(".") || children.is_empty(), children }
    }

    /// The members as messages show them: `.spec.template.spec.containers[name="app"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.to_owned());
        }
        for (edge, child) in &self.children {
            child.collect(&format!("{path}{}", shown(edge)), paths);
        }
    }
}

fn shown(edge: &str) -> String {
    if let Some(field) = edge.strip_prefix("f:") {
        return format!(".{field}");
    }
    if let Some(value) = edge.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let key: Value = serde_json::from_str(edge.trim_start_matches("k:")).unwrap_or_default();
    let parts: Vec<String> =
        key.as_object().map(|key| key.iter().map(|(k, v)| format!("{k}={v}")).collect()).unwrap_or_default();
    format!("[{}]", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_v1_round_trip_and_paths() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}});
        let set = Set::from_fields_v1(&fields);
        assert_eq!(set.to_fields_v1(), fields);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.x",
                ".spec.containers[name=\"app\"]",
                ".spec.containers[name=\"app\"].image"
            ]
        );
    }

    #[test]
    fn algebra() {
        let a = Set::from_fields_v1(&json!({"f:a": {}, "f:b": {".": {}, "f:c": {}}}));
        let b = Set::from_fields_v1(&json!({"f:b": {"f:c": {}}}));
        let mut rest = a.clone();
        rest.subtract(&b);
        assert_eq!(rest.to_fields_v1(), json!({"f:a": {}, "f:b": {}}));
        assert_eq!(a.intersection(&b), b);
        rest.union(&b);
        assert_eq!(rest, a);
    }
}
