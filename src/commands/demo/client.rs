//! The demo's customer and admin: plain HTTP and WebSocket clients of the API, with no door of their own.

use anyhow::{Context, bail};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub fn new(base: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: base.to_owned(),
            token: None,
        }
    }

    pub async fn log_in(&mut self, email: &str, password: &str) -> anyhow::Result<()> {
        let credentials = serde_json::json!({"email": email, "password": password});
        let answer = self
            .send(Method::POST, "/api/v1/auth/login", &[], Some(&credentials))
            .await?;
        self.token = Some(text(&answer, "/access_token")?.to_owned());
        Ok(())
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, &[("idempotency-key", key)], Some(body))
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("{method} {path} was answered {status}: {body}");
        }
        Ok(body)
    }

    /// Opens the live view as a browser does: a ticket first, then the WebSocket.
    pub async fn live(&self) -> anyhow::Result<Live> {
        let ticket = self.post("/api/v1/live/ticket", &serde_json::json!({})).await?;
        let address = self.base.replacen("http://", "ws://", 1);
        let address = format!("{address}/api/v1/live?ticket={}", text(&ticket, "/ticket")?);
        let (socket, _) = tokio_tungstenite::connect_async(address)
            .await
            .context("opening the live view")?;
        Ok(Live(socket))
    }
}

pub struct Live(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Live {
    /// The next message.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.0.next().await.context("the live view ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("the live view was closed: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// The string at a JSON pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no {pointer} in {value}"))
}
