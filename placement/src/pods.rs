//! Who is placed: a table with stable handles, so that the books of nodes need no keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::{WorkloadKey, model::Workload};

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Shared with copies of the table: a copy is made whenever a question is asked about another world.
    pub workload: Arc<Workload>,
    pub node: u32,
    pub backup: Option<u32>,
    /// Its position in its node's list.
    pub at: u32,
}

/// Keys are UUIDs of our own making: their low bits are random, and nobody chooses them to collide. Never iterated, so
/// that no answer depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    #[inline]
    fn write_u128(&mut self, key: u128) {
        let folded = u64::try_from(key >> 64).unwrap_or(0) ^ u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0);
        self.0 = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pods {
    slots: Vec<Option<Pod>>,
    free: Vec<u32>,
    by_key: HashMap<WorkloadKey, u32, BuildHasherDefault<KeyHasher>>,
}

impl Pods {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    #[inline]
    pub fn handle(&self, key: WorkloadKey) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    #[inline]
    pub fn get(&self, handle: u32) -> Option<&Pod> {
        self.slots.get(handle as usize)?.as_ref()
    }

    #[inline]
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut Pod> {
        self.slots.get_mut(handle as usize)?.as_mut()
    }

    #[inline]
    pub fn find(&self, key: WorkloadKey) -> Option<&Pod> {
        self.get(self.handle(key)?)
    }

    #[inline]
    pub fn insert(&mut self, pod: Pod) -> u32 {
        let key = pod.workload.id;
        let handle = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[handle as usize] = Some(pod);
        self.by_key.insert(key, handle);
        handle
    }

    #[inline]
    pub fn remove(&mut self, key: WorkloadKey) -> Option<(u32, Pod)> {
        let handle = self.by_key.remove(&key)?;
        let pod = self.slots[handle as usize].take()?;
        self.free.push(handle);
        Some((handle, pod))
    }

    /// In the order of their handles, which depends on history.
    pub fn unordered(&self) -> impl Iterator<Item = &Pod> {
        self.slots.iter().flatten()
    }

    /// In the order of their keys.
    pub fn sorted(&self) -> Vec<&Pod> {
        let mut pods: Vec<&Pod> = self.unordered().collect();
        pods.sort_unstable_by_key(|pod| pod.workload.id);
        pods
    }
}
