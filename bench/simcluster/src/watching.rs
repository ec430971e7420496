//! Those who write and those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use lumbung_bench::watch::{self, Timing};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use simcluster::SimCluster;
use simcluster::resource::{self, Kind};
use tokio::task::JoinHandle;

/// Changes an annotation of one pod after the other, and times each write. Each run writes what no other has written.
pub fn writes(sim: &SimCluster, count: usize, run: &str) -> anyhow::Result<Timing> {
    let pods = sim.cluster().list(&resource::POD, None);
    let mut samples = Vec::with_capacity(count);
    for (at, pod) in pods.iter().cycle().take(count).enumerate() {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let clock = watch::start();
        sim.cluster()
            .update(&resource::POD, text("namespace"), text("name"), "bench", |pod| {
                pod["metadata"]["annotations"]["bench"] = json!(format!("{run}-{at}"));
            })?;
        samples.push(clock.elapsed());
    }
    Ok(Timing::of(samples))
}

/// Clients that read every event of one kind over HTTP.
pub struct Watchers {
    told: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
    clock: Instant,
}

impl Watchers {
    pub async fn open(sim: &SimCluster, kind: &Kind, count: usize) -> anyhow::Result<Self> {
        let url = format!(
            "{}/api/v1/{}?watch=true&resourceVersion={}",
            sim.url(),
            kind.plural,
            sim.cluster().revision()
        );
        let (client, told) = (reqwest::Client::new(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::with_capacity(count);
        for _ in 0..count {
            let answer = client
                .get(&url)
                .bearer_auth(sim.token())
                .send()
                .await?
                .error_for_status()?;
            let told = Arc::clone(&told);
            tasks.push(tokio::spawn(async move {
                let mut body = answer.bytes_stream();
                while let Some(Ok(bytes)) = body.next().await {
                    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
                    told.fetch_add(lines, Ordering::Relaxed);
                }
            }));
        }
        Ok(Self {
            told,
            tasks,
            clock: watch::start(),
        })
    }

    /// Waits until all have been told of so many events; events per second since the first write.
    pub async fn finish(self, events: usize) -> anyhow::Result<f64> {
        let all = events * self.tasks.len();
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let waiting = async {
            while self.told.load(Ordering::Relaxed) < all {
                look.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), waiting)
            .await
            .context("a watcher missed events")?;
        let seconds = self.clock.elapsed().as_secs_f64();
        self.tasks.iter().for_each(JoinHandle::abort);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        Ok(all as f64 / seconds)
    }
}

/// As much of a page as counting takes: the reader's own work is not what is measured.
#[derive(Deserialize)]
struct Page {
    metadata: Metadata,
    items: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Lists all pods over HTTP as clients do, page by page.
pub async fn list_in_pages(sim: &SimCluster, limit: usize) -> anyhow::Result<usize> {
    let (client, mut count, mut next) = (reqwest::Client::new(), 0, String::new());
    loop {
        let url = format!("{}/api/v1/pods?limit={limit}&continue={next}", sim.url());
        let page: Page = client
            .get(&url)
            .bearer_auth(sim.token())
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        count += page.items.len();
        match page.metadata.next {
            Some(token) if !token.is_empty() => next = token,
            _ => return Ok(count),
        }
    }
}
