//! Who runs where: a row per machine.

use anyhow::ensure;

use super::client::{Client, text};
use super::tell::Tell;

/// Prints the machines with what is placed on them; fails unless each instance stands on exactly one.
pub async fn print(tell: &Tell, admin: &Client, instances: &[&str]) -> anyhow::Result<()> {
    let workers = admin.get("/api/v1/admin/workers").await?;
    let mut rows = vec![["machine", "CPU used / of", "memory used / of", "services"].map(str::to_owned)];
    let mut placed = Vec::new();
    let mut workers: Vec<_> = workers["items"].as_array().into_iter().flatten().collect();
    workers.sort_by_key(|worker| -worker["allocatable"]["mem_mib"].as_i64().unwrap_or(0));
    for worker in workers {
        let detail = admin
            .get(&format!("/api/v1/admin/workers/{}", text(worker, "/id")?))
            .await?;
        let here: Vec<_> = detail["instances"].as_array().into_iter().flatten().collect();
        placed.extend(
            here.iter()
                .filter_map(|instance| instance["instance_id"].as_str().map(str::to_owned)),
        );
        let names: Vec<_> = here
            .iter()
            .filter_map(|instance| instance["service"].as_str())
            .collect();
        let amount = |kind: &str, unit: &str| worker[kind][unit].as_i64().unwrap_or(0);
        let used = |unit| amount("requested", unit) + amount("foreign", unit);
        rows.push([
            text(worker, "/name")?.to_owned(),
            format!("{} / {} m", used("cpu_milli"), amount("allocatable", "cpu_milli")),
            format!("{} / {} MiB", used("mem_mib"), amount("allocatable", "mem_mib")),
            if names.is_empty() {
                "–".to_owned()
            } else {
                names.join(", ")
            },
        ]);
    }
    let widths: Vec<usize> = (0..4)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        tell.line(cells.join("   ").trim_end());
        if i == 0 {
            tell.line(
                &widths
                    .iter()
                    .map(|width| "─".repeat(*width))
                    .collect::<Vec<_>>()
                    .join("───"),
            );
        }
    }
    for instance in instances {
        let count = placed.iter().filter(|placed| placed == instance).count();
        ensure!(count == 1, "instance {instance} stands on {count} machines");
    }
    Ok(())
}
