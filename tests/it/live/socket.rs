//! A WebSocket client that reads what the tests expect, and never waits for ever.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use lumbung_tests::{Client, eventually};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

/// What came.
#[derive(Debug, PartialEq)]
pub enum Got {
    Message(Value),
    Closed(u16),
}

/// How to open one.
#[derive(Clone, Debug, Default)]
pub struct Opening<'a> {
    pub query: String,
    pub headers: Vec<(&'a str, String)>,
    /// Bytes that the client's side of the connection buffers at most, roughly.
    pub receive_buffer: Option<u32>,
}

impl Opening<'_> {
    pub fn query(query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn bearer(mut self, client: &Client) -> Self {
        self.headers.push((
            "authorization",
            format!("Bearer {}", client.token.as_deref().expect("logged in")),
        ));
        self
    }

    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.headers.push(("origin", origin.to_owned()));
        self
    }

    /// One try: the connection, or the refusal's status and body.
    pub async fn attempt(&self, url: &str) -> Result<Socket, (u16, Value)> {
        let host = url.strip_prefix("http://").expect("a plain address");
        let mut request = format!("ws://{host}/api/v1/live?{}", self.query)
            .into_client_request()
            .expect("a request");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request
                .headers_mut()
                .insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let stream = socket
            .connect(host.parse().expect("an address"))
            .await
            .expect("the server listens");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((
                    response.status().as_u16(),
                    serde_json::from_slice(body).unwrap_or(Value::Null),
                ))
            }
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    /// Opens it. A server that has just started says 503 until its feed is read for the first time.
    pub async fn open(&self, url: &str) -> Socket {
        eventually("a live connection", || async {
            match self.attempt(url).await {
                Ok(socket) => Some(socket),
                Err((503, _)) => None,
                Err((status, body)) => panic!("{status}: {body:#}"),
            }
        })
        .await
    }

    #[track_caller]
    pub fn refused(self, url: &str, status: u16, code: &str) -> impl Future<Output = ()> {
        let (url, code) = (url.to_owned(), code.to_owned());
        async move {
            let (got, body) = self.attempt(&url).await.expect_err("a refusal");
            assert_eq!((got, body["code"].as_str()), (status, Some(code.as_str())), "{body:#}");
        }
    }
}

/// The usual way: with a ticket.
pub async fn open(client: &Client, url: &str, rest: &str) -> Socket {
    Opening::query(format!("ticket={}{rest}", ticket(client).await))
        .open(url)
        .await
}

pub async fn ticket(client: &Client) -> String {
    let body = client.post("/api/v1/live/ticket", json!({})).await.expect(201);
    assert_eq!(body["expires_in"], 30);
    body["ticket"].as_str().expect("a ticket").to_owned()
}

impl Socket {
    /// The next message or the end; pings are answered on the way.
    pub async fn got(&mut self) -> Got {
        let reading = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => break Got::Message(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(Message::Close(frame))) => {
                        break Got::Closed(frame.map_or(1005, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => panic!("the connection broke: {error}"),
                    None => panic!("the connection ended without a word"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reading)
            .await
            .expect("a message within 30 s")
    }

    pub async fn message(&mut self) -> Value {
        match self.got().await {
            Got::Message(message) => message,
            Got::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message, which must be an event.
    pub async fn event(&mut self) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], "event", "{message:#}");
        message
    }

    /// The next message, which must be a whole snapshot.
    pub async fn snapshot(&mut self) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], "snapshot", "{message:#}");
        assert_eq!(message["more"], false);
        message
    }

    /// Reads until it is closed.
    pub async fn code(&mut self) -> u16 {
        loop {
            if let Got::Closed(code) = self.got().await {
                return code;
            }
        }
    }

    pub async fn send(&mut self, message: Message) {
        self.0.send(message).await.expect("sent");
    }
}
