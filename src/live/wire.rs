//! One connection's transport: what is sent and heard on it, whether the other side is still there, and the goodbye.
//!
//! It knows no events. Every wait here ends by itself: sending, waiting for a pong, waiting for the peer's goodbye.

use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use futures::{Sink, SinkExt, Stream, StreamExt};
use prometheus::IntCounterVec;
use tokio::time::{Sleep, sleep, timeout};

use super::close::Close;
use super::message::{Incoming, Outgoing};
use super::queue::{Item, Mailbox};
use crate::telemetry;

static MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_live_messages_total",
        "Messages sent on live connections, by type.",
        &["type"],
    )
});
static CLOSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_live_closes_total",
        "Live connections that ended, by close code; `gone` went without one.",
        &["code"],
    )
});

/// How a connection keeps time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one ping to the next. Below the idle time-out of common proxies (60 s).
    pub ping: Duration,
    /// How long any sign of life may take after a ping.
    pub pong: Duration,
    /// How long one message may take to leave; a snapshot's part on a slow line takes some seconds.
    pub send: Duration,
    /// How long the peer may take to answer a goodbye.
    pub goodbye: Duration,
    /// Frames that a client may send between two pings.
    pub inbound: u32,
}

impl Pace {
    pub const STANDARD: Self = Self {
        ping: Duration::from_secs(25),
        pong: Duration::from_secs(10),
        send: Duration::from_secs(30),
        goodbye: Duration::from_secs(3),
        inbound: 120,
    };
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer said goodbye, or is not there any more.
    Gone,
    /// We end it, and say why.
    Close(Close),
}

/// A WebSocket, or what a test puts in its place.
pub trait Transport: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin {}
impl<T: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin> Transport for T {}

#[derive(Debug)]
pub struct Wire<'a, T> {
    socket: T,
    mailbox: &'a Mailbox,
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    /// A ping is out, and nothing was heard since.
    waiting: bool,
    heard: bool,
    inbound: u32,
}

impl<'a, T: Transport> Wire<'a, T> {
    pub fn new(socket: T, mailbox: &'a Mailbox, pace: Pace) -> Self {
        let timer = Box::pin(sleep(pace.ping));
        Self {
            socket,
            mailbox,
            pace,
            timer,
            waiting: false,
            heard: false,
            inbound: 0,
        }
    }

    pub async fn send(&mut self, message: &Outgoing<'_>) -> Result<(), End> {
        self.text(message.kind(), message.text()).await
    }

    /// Sends an event that was written for many.
    pub async fn event(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.text("event", text).await
    }

    async fn text(&mut self, kind: &'static str, text: Utf8Bytes) -> Result<(), End> {
        self.put(Message::Text(text)).await?;
        MESSAGES.with_label_values(&[kind]).inc();
        Ok(())
    }

    /// The peer may read slowly, but not for ever, and not while its queue overflows.
    async fn put(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            close = self.mailbox.ending() => Err(End::Close(close)),
            sent = timeout(self.pace.send, self.socket.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Close(Close::NoPong)),
            },
        }
    }

    /// The next event from the hub; looks after the peer meanwhile.
    pub async fn next(&mut self) -> Result<Item, End> {
        loop {
            tokio::select! {
                biased;
                close = self.mailbox.ending() => return Err(End::Close(close)),
                frame = self.socket.next() => self.hear(frame).await?,
                () = &mut self.timer => self.tick().await?,
                item = self.mailbox.next() => return Ok(item),
            }
        }
    }

    async fn hear(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match frame {
            None => return Err(End::Gone),
            Some(Err(error)) => return Err(Close::for_error(error).map_or(End::Gone, End::Close)),
            Some(Ok(message)) => message,
        };
        self.heard = true;
        self.inbound += 1;
        if self.inbound > self.pace.inbound {
            return Err(End::Close(Close::Flood));
        }
        match message {
            Message::Text(text) => match serde_json::from_str(text.as_str()) {
                Ok(Incoming::Ping) => self.send(&Outgoing::Pong).await,
                Err(_) => Err(End::Close(Close::BadMessage)),
            },
            Message::Binary(_) => Err(End::Close(Close::BadMessage)),
            Message::Close(_) => Err(End::Gone),
            // The transport answers pings by itself.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    /// A round is a ping, a while in which something must be heard, and a pause.
    async fn tick(&mut self) -> Result<(), End> {
        if !self.waiting {
            (self.waiting, self.heard, self.inbound) = (true, false, 0);
            self.timer.set(sleep(self.pace.pong));
            return self.put(Message::Ping(bytes::Bytes::new())).await;
        }
        if !self.heard {
            return Err(End::Close(Close::NoPong));
        }
        self.waiting = false;
        self.timer.set(sleep(self.pace.ping.saturating_sub(self.pace.pong)));
        Ok(())
    }

    /// Says why, if there is something to say, and waits a little for the answer, so that it is not lost with the
    /// connection.
    pub async fn finish(mut self, end: End) {
        let End::Close(close) = end else {
            CLOSES.with_label_values(&["gone"]).inc();
            // Answers the peer's goodbye.
            let _ = timeout(self.pace.goodbye, self.socket.close()).await;
            return;
        };
        CLOSES.with_label_values(&[&close.code().to_string()]).inc();
        let frame = CloseFrame {
            code: close.code(),
            reason: close.reason().into(),
        };
        let goodbye = async {
            self.socket.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(message)) = self.socket.next().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
            Ok::<_, axum::Error>(())
        };
        let _ = timeout(self.pace.goodbye, goodbye).await;
    }
}

#[cfg(test)]
mod tests;
