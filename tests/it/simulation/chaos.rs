//! Two processes of the real binary on one database and one cluster, while for so many seeded minutes everything is
//! done to them: killed, paused past their leases, restarted, in the middle of an order or between two; the API refuses,
//! loses answers and cuts watches; machines lose their power or are cut off. Customers go on meanwhile.
//!
//! In the end both are killed, the app in this process takes over, and what holds of every history holds of this one.
//!
//! A quarter of a minute each by default; ten minutes: `LUMBUNG_CHAOS_MINUTES=10`, another seed: `LUMBUNG_CHAOS_SEED=7`,
//! both with the test `chaos_on_demand`.

use std::time::Duration;

use lumbung::clock::Ambient;
use lumbung_tests::TestApp;
use lumbung_tests::process::{Scratch, Server};
use rustix::process::Signal;
use simcluster::Delays;

use super::world::World;

const SHORT: Duration = Duration::from_secs(15);
/// At most one thing is done in each of these.
const PACE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn chaos_of_two_processes() {
    chaos(2001, SHORT).await;
}

#[tokio::test]
async fn chaos_on_demand() {
    let number =
        |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse::<u64>().expect("a number"));
    let seconds = 60 * number("LUMBUNG_CHAOS_MINUTES", 0);
    let length = Duration::from_secs(seconds).max(SHORT);
    chaos(number("LUMBUNG_CHAOS_SEED", 2002), length).await;
}

/// How one of the two processes is.
enum Life {
    Up(Server),
    Paused(Server),
    Dead,
}

struct Pair {
    scratch: Scratch,
    lives: [Life; 2],
}

async fn chaos(seed: u64, length: Duration) {
    let scratch = Scratch::new();
    let ambient = Ambient::system();
    let begin = ambient.now();
    // Machines are missed soon, so that what follows from it happens within the test.
    let delays = Delays {
        lease_interval: Duration::from_millis(500),
        node_grace: Duration::from_secs(2),
        ..Delays::zero()
    };
    let builder = TestApp::builder()
        .at(begin)
        .keys_in(scratch.path("keys"))
        .delays(delays);
    let mut world = World::begin(seed, builder).await;
    world.alone = false;
    let mut pair = Pair {
        scratch,
        lives: [Life::Dead, Life::Dead],
    };
    let mut tick = tokio::time::interval(PACE);
    let mut done = 0;
    while ambient.now().since(begin) < length || world.orders.len() < super::world::ORDERS {
        tick.tick().await;
        pair.tend(&mut world).await;
        match world.below(100) {
            0..60 => act(&mut world).await,
            60..66 => pair.kill(&mut world),
            66..72 => pair.pause(&mut world).await,
            72..80 => pair.resume(&mut world),
            80..84 => pair.hit_over_an_order(&mut world).await,
            84..88 => world.harm_node(),
            88..94 => world.fault(),
            _ => world.mend(),
        }
        done += 1;
    }
    println!(
        "seed {seed}: {done} deeds in {:?}, {} orders accepted",
        ambient.now().since(begin),
        world.orders.len()
    );
    drop(pair);
    world.history.add("both are killed; the app in this process takes over");
    let behind = ambient.now().since(world.app.ambient.now());
    world.app.advance(behind);
    world.app.outlive_leases().await;
    world.url.clone_from(&world.app.url);
    world.alone = true;
    world.rest().await;
    let corruptions = world.app.sim.corruptions();
    assert!(corruptions.is_empty(), "two pods wrote to one volume: {corruptions:#?}");
}

/// What a customer or an operator does.
async fn act(world: &mut World) {
    match world.below(100) {
        0..40 => world.order().await,
        40..50 => world.stop().await,
        50..60 => world.start_again().await,
        60..68 => world.restart().await,
        68..80 => world.cancel("now").await,
        80..84 => world.cancel("period_end").await,
        84..88 => world.undo().await,
        88..94 => world.renew().await,
        _ => world.confirm().await,
    }
}

impl Pair {
    /// Somebody answers: a paused process goes on or a dead one is started, and requests go to one that is up.
    async fn tend(&mut self, world: &mut World) {
        for (at, life) in self.lives.iter_mut().enumerate() {
            if let Life::Up(server) = life {
                let ended = server.process.0.try_wait().expect("its state");
                assert!(
                    ended.is_none(),
                    "process {at} ended by itself: {ended:?}\n{}",
                    server.log()
                );
            }
        }
        let dead = self.lives.iter().position(|life| matches!(life, Life::Dead));
        if let Some(at) = dead
            && (self.up().is_empty() || world.below(4) == 0)
        {
            // It comes up in a cluster that answers; what it lives through comes later.
            world.mend();
            let server = Server::start(&world.app.db.url, &world.app.sim, &self.scratch, &[]).await;
            self.lives[at] = Life::Up(server);
            world.history.add(format!("process {at} is started"));
        }
        if self.up().is_empty() {
            self.resume(world);
        }
        let up = self.up();
        let at = world.pick(&up);
        if let Life::Up(server) = &self.lives[at] {
            world.url.clone_from(&server.url);
        }
    }

    fn up(&self) -> Vec<usize> {
        (0..2).filter(|at| matches!(self.lives[*at], Life::Up(_))).collect()
    }

    fn take(&mut self, at: usize) -> Life {
        std::mem::replace(&mut self.lives[at], Life::Dead)
    }

    /// kill -9, of whichever.
    fn kill(&mut self, world: &mut World) {
        let at = world.below(2) as usize;
        if let Life::Up(mut server) | Life::Paused(mut server) = self.take(at) {
            server.kill();
            world.history.add(format!("process {at} is killed"));
        }
    }

    /// One that was up is stopped where it stands; sometimes its leases run out while it sleeps.
    async fn pause(&mut self, world: &mut World) {
        let at = world.below(2) as usize;
        match self.take(at) {
            Life::Up(server) => {
                server.process.signal(Signal::STOP);
                self.lives[at] = Life::Paused(server);
                let outlived = world.below(2) == 0;
                if outlived {
                    world.app.outlive_leases().await;
                }
                world
                    .history
                    .add(format!("process {at} is paused; its leases run out: {outlived}"));
            }
            other => self.lives[at] = other,
        }
    }

    /// Whoever sleeps goes on where it stood.
    fn resume(&mut self, world: &mut World) {
        for at in 0..2 {
            match self.take(at) {
                Life::Paused(server) => {
                    server.process.signal(Signal::CONT);
                    self.lives[at] = Life::Up(server);
                    world.history.add(format!("process {at} goes on"));
                }
                other => self.lives[at] = other,
            }
        }
    }

    /// The process that an order is on its way to is killed or paused. Its sender asks the other one, with the same key:
    /// there will be one order, whether or not the first had come to be, and whatever the paused one still does.
    async fn hit_over_an_order(&mut self, world: &mut World) {
        let Some(at) = self
            .lives
            .iter()
            .position(|life| matches!(life, Life::Up(server) if server.url == world.url))
        else {
            return;
        };
        let half = world.half_an_order().await;
        let dies = world.below(2) == 0;
        if let Life::Up(mut server) = self.take(at) {
            if dies {
                server.kill();
            } else {
                server.process.signal(Signal::STOP);
                self.lives[at] = Life::Paused(server);
            }
        }
        let how = if dies { "killed" } else { "paused" };
        world.history.add(format!(
            "process {at} is {how}, {} polls into an order of {}",
            half.polls, half.owner
        ));
        world.app.outlive_leases().await;
        if self.up().is_empty() && dies {
            self.resume(world);
        }
        self.tend(world).await;
        let answer = world.insist(half.owner, &half.key, "/api/v1/orders", &half.body).await;
        world.note_order(half.owner, ("linkding", "mini"), answer);
    }
}
