//! The trace files, found by their names in a directory that lies outside of the repository.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use placement::Resources;

/// Gzip CSV, one record at a time.
pub fn open(path: &Path) -> Result<csv::Reader<GzDecoder<File>>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(GzDecoder::new(file)))
}

/// The files of `dir` whose names begin and end so, in the order of their names.
pub fn find(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A pod of a trace: what it asks for, and when it came and went where the file says so, in the file's own seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    pub request: Resources,
    pub created: Option<i64>,
    pub deleted: Option<i64>,
}

/// How many pods a node takes where its file does not say: more than any trace would put there.
const PODS_UNLIMITED: i64 = 1 << 20;

/// The pods of a file with the columns cpu_milli and memory_mib, and perhaps disk_mib, creation_time, deletion_time.
pub fn pods(path: &Path) -> Result<Vec<Pod>> {
    rows(path, |row| {
        Ok(Pod {
            request: Resources {
                cpu_milli: row.amount("cpu_milli", f64::ceil)?.context("no column cpu_milli")?,
                mem_mib: row.amount("memory_mib", f64::ceil)?.context("no column memory_mib")?,
                disk_mib: row.amount("disk_mib", f64::ceil)?.unwrap_or(0),
                pods: 1,
            },
            created: row.amount("creation_time", f64::floor)?,
            deleted: row.amount("deletion_time", f64::floor)?,
        })
    })
}

/// The allocatable amounts of each node of a file with the columns cpu_milli and memory_mib, and perhaps disk_mib, pods.
pub fn nodes(path: &Path) -> Result<Vec<Resources>> {
    rows(path, |row| {
        Ok(Resources {
            cpu_milli: row.amount("cpu_milli", f64::floor)?.context("no column cpu_milli")?,
            mem_mib: row.amount("memory_mib", f64::floor)?.context("no column memory_mib")?,
            disk_mib: row.amount("disk_mib", f64::floor)?.unwrap_or(0),
            pods: row.amount("pods", f64::floor)?.unwrap_or(PODS_UNLIMITED),
        })
    })
}

/// The files of pods, each with the file of nodes that has the same name before `_pods`, and that name.
pub fn pod_sets(dir: &Path) -> Result<Vec<(String, PathBuf, PathBuf)>> {
    let mut sets = Vec::new();
    for pods in find(dir, "", ".csv.gz")? {
        let name = pods.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((prefix, rest)) = name.split_once("_pods") else {
            continue;
        };
        let nodes = pods.with_file_name(format!("{prefix}_nodes.csv.gz"));
        if nodes.is_file() {
            let variant = rest.trim_end_matches(".csv.gz").trim_start_matches('_');
            let label = if variant.is_empty() {
                prefix.to_owned()
            } else {
                format!("{prefix} {variant}")
            };
            sets.push((label, pods.clone(), nodes));
        }
    }
    Ok(sets)
}

struct Row<'a> {
    headers: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// None where the column is missing or empty.
    fn amount(&self, column: &str, whole: fn(f64) -> f64) -> Result<Option<i64>> {
        let text = self
            .headers
            .iter()
            .position(|name| name.trim() == column)
            .and_then(|at| self.record.get(at))
            .map_or("", str::trim);
        if text.is_empty() {
            return Ok(None);
        }
        let value: f64 = text.parse().with_context(|| format!("{column} is {text:?}"))?;
        anyhow::ensure!(value.abs() <= Resources::MAX_AMOUNT as f64, "{column} is {text}");
        Ok(Some(whole(value) as i64))
    }
}

fn rows<T>(path: &Path, mut parse: impl FnMut(&Row) -> Result<T>) -> Result<Vec<T>> {
    let mut reader = open(path)?;
    let headers = reader.headers()?.clone();
    let mut all = Vec::new();
    for (line, record) in reader.records().enumerate() {
        let record = record?;
        let row = Row {
            headers: &headers,
            record: &record,
        };
        let parsed = parse(&row).with_context(|| format!("{}, row {}", path.display(), line + 1))?;
        all.push(parsed);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        let mut file = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
        path
    }

    #[test]
    fn pods_and_nodes_are_read_by_column_and_matched_by_name() {
        let dir = std::env::temp_dir().join(format!("lumbung-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = gzip(
            &dir,
            "a_pods_day.csv.gz",
            "name,memory_mib,cpu_milli,deletion_time\nx,7.5,250,\ny,8,1,99\n",
        );
        let fleet = gzip(&dir, "a_nodes.csv.gz", "cpu_milli,memory_mib,disk_mib\n4000,8192,100\n");
        gzip(&dir, "b_pods.csv.gz", "cpu_milli\n1\n");
        let sets = pod_sets(&dir).unwrap();
        let (read, of, broken) = (pods(&file), nodes(&fleet), pods(&dir.join("b_pods.csv.gz")));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(sets, [("a day".to_owned(), file, fleet)]);
        let read = read.unwrap();
        assert_eq!(read[0].request, crate::fleet::pod(250, 8));
        assert_eq!(
            (read[0].deleted, read[1].deleted, read[1].created),
            (None, Some(99), None)
        );
        assert_eq!(
            (of.as_ref().unwrap()[0].disk_mib, of.unwrap()[0].pods),
            (100, PODS_UNLIMITED)
        );
        assert!(format!("{:#}", broken.unwrap_err()).contains("no column memory_mib"));
    }
}
