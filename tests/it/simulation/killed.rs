//! Histories whose beginning is served by the real binary, as processes of their own that are killed with SIGKILL: on
//! the same database and the same cluster as the app in this process, which takes over from them.
//!
//! Those processes live by the machine's clock, so these histories begin now.

use lumbung::clock::Ambient;
use lumbung_tests::TestApp;
use lumbung_tests::process::{Scratch, Server};

use super::world::World;

/// Processes that are killed in each history.
const LIVES: usize = 2;

macro_rules! seeds {
    ($($name:ident = $seed:literal),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            history($seed).await;
        })*
    };
}

seeds! { killed_1 = 1001, killed_2 = 1002, killed_3 = 1003, killed_4 = 1004, killed_5 = 1005 }

async fn history(seed: u64) {
    let scratch = Scratch::new();
    let builder = TestApp::builder()
        .at(Ambient::system().now())
        .keys_in(scratch.path("keys"));
    let mut world = World::begin(seed, builder).await;
    world.alone = false;
    for _ in 0..LIVES {
        let server = Server::start(&world.app.db.url, &world.app.sim, &scratch, &[]).await;
        world.url.clone_from(&server.url);
        world.history.add("a process of its own serves");
        for _ in 0..2 + world.below(3) {
            world.order().await;
            match world.below(4) {
                0 => world.stop().await,
                1 => world.start_again().await,
                2 => world.cancel("now").await,
                _ => world.restart().await,
            }
        }
        killed_over_an_order(&mut world, server).await;
    }
    let behind = Ambient::system().now().since(world.app.ambient.now());
    world.app.advance(behind);
    world.app.outlive_leases().await;
    world.alone = true;
    world.history.add("the app in this process takes over");
    world.live().await;
}

/// The process dies while an order is on its way to it. Its sender asks the next one again, with the same key: there
/// will be one order, whether or not the first had come to be.
async fn killed_over_an_order(world: &mut World, mut server: Server) {
    let half = world.half_an_order().await;
    server.kill();
    world
        .history
        .add(format!("killed, {} polls into an order of {}", half.polls, half.owner));
    world.app.outlive_leases().await;
    world.url.clone_from(&world.app.url);
    let again = world.log_in(half.owner).await;
    let answer = again.post_once(&half.key, "/api/v1/orders", half.body).await;
    world.note_order(half.owner, ("linkding", "mini"), answer);
}
