//! Histories whose beginning is served by the real binary, as processes of their own that are killed with SIGKILL: on
//! the same database and the same cluster as the app in this process, which takes over from them.
//!
//! Those processes live by the machine's clock, so these histories begin now.

use lumbung::clock::Ambient;
use lumbung_tests::process::{Scratch, Server};
use lumbung_tests::{TestApp, cut};
use reqwest::Method;
use serde_json::json;

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
    let (owner, key, polls) = (world.customer(), world.key(), 1 + world.below(12));
    let body = json!({"service": "linkding", "plan": "mini"});
    let headers = [("idempotency-key", key.as_str())];
    let client = world.log_in(owner).await;
    cut(
        client.send(Method::POST, "/api/v1/orders", &headers, Some(&body)),
        polls,
    )
    .await;
    server.kill();
    world
        .history
        .add(format!("killed, {polls} polls into an order of {owner}"));
    world.app.outlive_leases().await;
    world.url.clone_from(&world.app.url);
    let answer = world.log_in(owner).await.post_once(&key, "/api/v1/orders", body).await;
    world.note_order(owner, ("linkding", "mini"), answer);
}
