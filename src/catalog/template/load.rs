//! Reading templates: ours, compiled in, and an operator's own directory.
//!
//! A directory is accepted or refused as a whole, with every problem of every file in one error: an operator should
//! not have to start the server once per mistake.

use std::{fmt, fs, path::Path};

use serde_json::Value;

use super::{Issue, Template, validate};

const EMBEDDED: [(&str, &str); 5] = [
    ("catalog/templates/ghost.yaml", include_str!("../templates/ghost.yaml")),
    (
        "catalog/templates/linkding.yaml",
        include_str!("../templates/linkding.yaml"),
    ),
    ("catalog/templates/n8n.yaml", include_str!("../templates/n8n.yaml")),
    (
        "catalog/templates/vaultwarden.yaml",
        include_str!("../templates/vaultwarden.yaml"),
    ),
    (
        "catalog/templates/wordpress.yaml",
        include_str!("../templates/wordpress.yaml"),
    ),
];

/// All that is wrong, one line per problem: `file: field: what`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LoadError {
    pub lines: Vec<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// The templates that are part of the program.
pub fn load_embedded() -> Result<Vec<Template>, LoadError> {
    load_all(
        EMBEDDED
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned())),
    )
}

/// Every `*.yaml` and `*.yml` of a directory, in alphabetical order; other files are ignored.
pub fn load_dir(path: &Path) -> Result<Vec<Template>, LoadError> {
    let failed = |what: &Path, error: std::io::Error| LoadError {
        lines: vec![format!("{}: {error}", what.display())],
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| failed(path, error))? {
        let file = entry.map_err(|error| failed(path, error))?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(file);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| failed(&file, error))?;
        texts.push((file.display().to_string(), text));
    }
    load_all(texts.into_iter())
}

fn load_all(files: impl Iterator<Item = (String, String)>) -> Result<Vec<Template>, LoadError> {
    let mut templates: Vec<Template> = Vec::new();
    let mut lines = Vec::new();
    for (name, text) in files {
        match from_yaml(&text) {
            Ok(template) if templates.iter().any(|known| known.slug == template.slug) => {
                lines.push(format!(
                    "{name}: slug: {} is already used by another file",
                    template.slug
                ));
            }
            Ok(template) => templates.push(template),
            Err(issues) => lines.extend(issues.iter().map(|issue| format!("{name}: {issue}"))),
        }
    }
    if lines.is_empty() {
        Ok(templates)
    } else {
        Err(LoadError { lines })
    }
}

/// Parses and validates one YAML document.
pub fn from_yaml(text: &str) -> Result<Template, Vec<Issue>> {
    // By way of JSON values: an error inside then names the field, and YAML and the admin API share one reader.
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let first = error.to_string().lines().next().unwrap_or_default().to_owned();
        vec![Issue::new("", format!("not YAML: {first}"))]
    })?;
    from_json(value)
}

/// Parses and validates one JSON document.
pub fn from_json(value: Value) -> Result<Template, Vec<Issue>> {
    let template: Template = serde_path_to_error::deserialize(value)
        .map_err(|error| vec![Issue::new(pointer(error.path()), error.inner().to_string())])?;
    let issues = validate(&template);
    if issues.is_empty() { Ok(template) } else { Err(issues) }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{key}"),
        Segment::Enum { variant } => format!("{pointer}/{variant}"),
        Segment::Unknown => pointer,
    })
}
