use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::channel::mpsc;

use super::*;

/// A socket whose peer is the test. It takes `room` messages and then blocks.
struct Socket {
    from_peer: mpsc::UnboundedReceiver<Result<Message, axum::Error>>,
    to_peer: VecDeque<Message>,
    room: usize,
}

fn socket(room: usize) -> (Socket, mpsc::UnboundedSender<Result<Message, axum::Error>>) {
    let (peer, from_peer) = mpsc::unbounded();
    (
        Socket {
            from_peer,
            to_peer: VecDeque::new(),
            room,
        },
        peer,
    )
}

impl Stream for Socket {
    type Item = Result<Message, axum::Error>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_peer.poll_next_unpin(cx)
    }
}

impl Sink<Message> for Socket {
    type Error = axum::Error;
    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        if self.to_peer.len() < self.room {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        self.to_peer.push_back(message);
        Ok(())
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
}

const QUICK: Pace = Pace {
    ping: Duration::from_millis(20),
    pong: Duration::from_millis(10),
    send: Duration::from_millis(20),
    goodbye: Duration::from_millis(20),
    inbound: 5,
};
/// Long enough that nothing of it happens in a test that is about something else.
const CALM: Pace = Pace {
    ping: Duration::from_mins(10),
    pong: Duration::from_mins(10),
    send: Duration::from_mins(10),
    ..QUICK
};

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

#[tokio::test]
async fn a_silent_peer_is_pinged_once_and_then_left() {
    let mailbox = Mailbox::new(1000);
    let (socket, _peer) = socket(10);
    let mut wire = Wire::new(socket, &mailbox, QUICK);
    assert_eq!(wire.next().await.unwrap_err(), End::Close(Close::NoPong));
    assert_eq!(wire.socket.to_peer, [Message::Ping(bytes::Bytes::new())]);
}

#[tokio::test]
async fn a_peer_that_gives_signs_of_life_is_kept() {
    let mailbox = Mailbox::new(1000);
    let (socket, peer) = socket(100);
    let mut wire = Wire::new(socket, &mailbox, QUICK);
    for _ in 0..5 {
        // A tick that is a ping, the answer to it, and the tick that looks for one.
        wire.tick().await.unwrap();
        peer.unbounded_send(Ok(Message::Pong(bytes::Bytes::new()))).unwrap();
        let frame = wire.socket.next().await;
        wire.hear(frame).await.unwrap();
        wire.tick().await.unwrap();
    }
    assert_eq!(wire.socket.to_peer.len(), 5);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_left() {
    let mailbox = Mailbox::new(1000);
    let (socket, _peer) = socket(0);
    let mut wire = Wire::new(socket, &mailbox, QUICK);
    assert_eq!(wire.send(&Outgoing::Pong).await.unwrap_err(), End::Close(Close::NoPong));
}

#[tokio::test]
async fn an_overflow_interrupts_a_send_that_hangs() {
    let mailbox = Mailbox::new(1000);
    let (socket, _peer) = socket(0);
    let mut wire = Wire::new(socket, &mailbox, CALM);
    let (sent, fits) = tokio::join!(wire.send(&Outgoing::Pong), async {
        mailbox.push(Item {
            place: 1,
            text: "x".repeat(2000).into(),
        })
    });
    assert!(!fits);
    assert_eq!(sent.unwrap_err(), End::Close(Close::SlowConsumer));
}

#[tokio::test]
async fn pings_in_json_are_answered_and_other_words_are_not_accepted() {
    let mailbox = Mailbox::new(1000);
    let (socket, peer) = socket(10);
    let mut wire = Wire::new(socket, &mailbox, CALM);
    peer.unbounded_send(Ok(text(r#"{"type":"ping"}"#))).unwrap();
    peer.unbounded_send(Ok(text("hello"))).unwrap();
    assert_eq!(wire.next().await.unwrap_err(), End::Close(Close::BadMessage));
    assert_eq!(wire.socket.to_peer, [Message::Text(r#"{"type":"pong"}"#.into())]);
}

#[tokio::test]
async fn a_flood_ends_it() {
    let mailbox = Mailbox::new(1000);
    let (socket, peer) = socket(1000);
    let mut wire = Wire::new(socket, &mailbox, Pace { inbound: 5, ..CALM });
    for _ in 0..6 {
        peer.unbounded_send(Ok(Message::Ping(bytes::Bytes::new()))).unwrap();
    }
    assert_eq!(wire.next().await.unwrap_err(), End::Close(Close::Flood));
}

#[tokio::test]
async fn the_end_of_the_peer_is_an_end() {
    for last in [
        Some(Ok(Message::Close(None))),
        Some(Err(axum::Error::new(std::io::Error::other("reset")))),
        None,
    ] {
        let mailbox = Mailbox::new(1000);
        let (socket, peer) = socket(10);
        let mut wire = Wire::new(socket, &mailbox, CALM);
        if let Some(last) = last {
            peer.unbounded_send(last).unwrap();
        }
        drop(peer);
        assert_eq!(wire.next().await.unwrap_err(), End::Gone);
    }
}

#[tokio::test]
async fn a_goodbye_to_a_peer_that_never_answers_ends() {
    let mailbox = Mailbox::new(1000);
    let (socket, _peer) = socket(0);
    Wire::new(socket, &mailbox, QUICK)
        .finish(End::Close(Close::Shutdown))
        .await;
}
