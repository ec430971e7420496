//! Who writes to which volume. A running container writes all the time to what its pod mounts.
//!
//! Two pods that write to one volume from different nodes at one time ruin it: each such pair is recorded once, whatever
//! the API says about either pod.

use super::prelude::*;

/// Who writes to a volume, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Writer {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub node: String,
}

/// Two pods wrote to one volume at one time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Corruption {
    pub volume: String,
    pub claim: String,
    /// The one that was writing, and the one that came to it.
    pub pods: [Writer; 2],
    pub at: Timestamp,
}

#[derive(Default)]
pub(super) struct Disks {
    writers: BTreeMap<String, Vec<Writer>>,
    pub corruptions: Vec<Corruption>,
}

impl Disks {
    pub fn start(&mut self, volume: &str, claim: &str, writer: &Writer, now: Timestamp) {
        let writers = self.writers.entry(volume.to_owned()).or_default();
        for other in writers.iter().filter(|other| other.node != writer.node) {
            let is_known = |c: &Corruption| c.volume == volume && c.pods.contains(other) && c.pods.contains(writer);
            if !self.corruptions.iter().any(is_known) {
                let pods = [other.clone(), writer.clone()];
                tracing::error!(volume, claim, ?pods, "two pods write to one volume");
                let (volume, claim) = (volume.to_owned(), claim.to_owned());
                self.corruptions.push(Corruption { volume, claim, pods, at: now });
            }
        }
        writers.push(writer.clone());
    }

    /// A machine without power, or that is no more, writes nothing.
    pub fn stop_node(&mut self, node: &str) {
        self.writers.values_mut().for_each(|writers| writers.retain(|writer| writer.node != node));
    }

    pub fn stop(&mut self, volume: &str, uid: &str) {
        if let Some(writers) = self.writers.get_mut(volume) {
            writers.retain(|writer| writer.uid != uid);
        }
    }
}
