//! Seeded histories of the whole platform: customers order, stop, start, restart, renew and cancel, time passes, the
//! API server and the containers misbehave, and the process is dropped in the middle, without a shutdown.
//!
//! A seed chooses what happens in which order. Concurrency between server, watches and cluster is real, so that a
//! replay repeats the history and not every interleaving. Once the faults are mended the platform must come to rest by
//! itself with every accepted order as its owner wants it, or failed for the one cause that the seed made permanent;
//! then `lumbung_tests::invariants` are held against rows and cluster. A failing seed prints its history.
//!
//! Every seed brings at least [`world::ORDERS`] accepted orders: the twenty together more than two hundred. More seeds:
//! `LUMBUNG_SIM_SEEDS=100`; one again: `LUMBUNG_SIM_SEED=17`, both with the test `more_seeds_on_demand`.

mod acts;
mod chaos;
mod faults;
mod history;
mod killed;
mod rest;
mod world;

use world::World;

macro_rules! seeds {
    ($($name:ident = $seed:literal),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            World::start($seed).await.live().await;
        })*
    };
}

seeds! {
    seed_01 = 1, seed_02 = 2, seed_03 = 3, seed_04 = 4, seed_05 = 5, seed_06 = 6, seed_07 = 7, seed_08 = 8, seed_09 = 9,
    seed_10 = 10, seed_11 = 11, seed_12 = 12, seed_13 = 13, seed_14 = 14, seed_15 = 15, seed_16 = 16, seed_17 = 17,
    seed_18 = 18, seed_19 = 19, seed_20 = 20,
}

/// One more seed than the twenty, unless asked for others.
#[tokio::test]
async fn more_seeds_on_demand() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let seeds = match (number("LUMBUNG_SIM_SEED"), number("LUMBUNG_SIM_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, more) => 101..=100 + more.unwrap_or(1),
    };
    for seed in seeds {
        World::start(seed).await.live().await;
    }
}
