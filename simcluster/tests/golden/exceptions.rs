//! `golden.toml`: what is not compared, and why. A table without `steps` is about a whole transcript, one with `except`
//! only about these parts of the answers (`[]` for any item).

use std::collections::BTreeMap;

use serde_json::Value;

pub struct Exceptions(Vec<Exception>);

pub struct Exception {
    transcript: String,
    steps: Vec<(u64, u64)>,
    /// Empty: the whole answer.
    except: Vec<String>,
    /// What stands before the colon of the reason.
    pub class: String,
}

impl Exceptions {
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split("[[skip]]").skip(1).map(Exception::parse).collect::<Result<_, _>>().map(Self)
    }

    /// What speaks of a transcript or a step that there is not; transcripts that are skipped as a whole need not be there.
    pub fn stale(&self, transcripts: &BTreeMap<String, Value>) -> Vec<String> {
        let has = |exception: &Exception| {
            let steps = transcripts.get(&exception.transcript).and_then(|t| t["steps"].as_array()).map_or(0, Vec::len);
            exception.steps.is_empty() && exception.is_whole()
                || steps > 0 && exception.steps.iter().all(|(_, last)| *last < steps as u64)
        };
        let stale = self.0.iter().filter(|exception| !has(exception));
        stale.map(|e| format!("golden.toml: there is no {} {:?}", e.transcript, e.steps)).collect()
    }

    pub fn speaks_of(&self, transcript: &str) -> bool {
        self.0.iter().any(|exception| exception.transcript == transcript)
    }

    /// The first that speaks of a step.
    pub fn of(&self, transcript: &str, step: u64) -> Option<&Exception> {
        let speaks = |steps: &[(u64, u64)]| steps.is_empty() || steps.iter().any(|(a, b)| (*a..=*b).contains(&step));
        self.0.iter().find(|exception| exception.transcript == transcript && speaks(&exception.steps))
    }
}

impl Exception {
    fn parse(table: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let mut lines = table.lines().filter_map(|line| line.split_once(" = "));
            lines.find(|(key, _)| *key == name).map_or("", |(_, value)| value.trim_matches('"'))
        };
        let list = |name: &str| field(name).split(", ").filter(|part| !part.is_empty()).map(ToOwned::to_owned);
        let range = |part: String| {
            let (from, to) = part.split_once('-').unwrap_or((&part, &part));
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        let steps = list("steps").map(range).collect::<Option<_>>();
        match (field("transcript"), field("reason").split_once(": "), steps) {
            (transcript, Some((class, _)), Some(steps)) if !transcript.is_empty() => {
                let (transcript, class) = (transcript.to_owned(), class.to_owned());
                Ok(Self { transcript, steps, except: list("except").collect(), class })
            }
            _ => Err(format!("without transcript, steps or a reason with its class: {table}")),
        }
    }

    /// Whether anything of the body is still compared.
    pub fn leaves_body(&self) -> bool {
        !self.is_whole() && !self.except.iter().any(|part| part == "body")
    }

    pub fn is_whole(&self) -> bool {
        self.except.is_empty()
    }

    /// Whether a difference, which begins with its path, is in one of the parts.
    pub fn covers(&self, difference: &str) -> bool {
        let path = difference.split([' ', ':']).next().unwrap_or_default();
        let steps = path.split_inclusive('[').map(|step| step.trim_start_matches(|c: char| c.is_ascii_digit()));
        let path: String = steps.collect();
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.is_whole() || self.except.iter().any(|part| path.strip_prefix(part.as_str()).is_some_and(inside))
    }
}
