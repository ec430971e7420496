//! The routes: fetching a ticket, and opening the connection.

use axum::Json as Answer;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::close::Close;
use super::connection;
use super::hub::{Guest, Hub};
use super::origin::Origins;
use super::registry::Refusal;
use super::ticket;
use super::wire::{End, Pace, Wire};
use crate::clock::Ambient;
use crate::http::extract::Query;
use crate::http::problem::{Body, FieldError, Kind, Problem, Result};
use crate::identity::{Customer, Principal};

/// Clients have nothing long to say.
const MAX_MESSAGE: usize = 16 * 1024;
/// Most connections are idle most of the time: small buffers are what thousands of them cost.
const BUFFER: usize = 4 * 1024;

/// What these routes need.
#[derive(Clone)]
pub struct Deps {
    pub hub: Hub,
    pub ambient: Ambient,
    pub origins: Origins,
    pub pace: Pace,
}

pub fn routes(deps: Deps) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(issue_ticket))
        .routes(routes!(open))
        .with_state(deps)
}

/// A ticket for one live connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LiveTicket {
    /// To be given as `ticket` to GET /api/v1/live.
    #[schema(min_length = 43, max_length = 43)]
    ticket: String,
    /// Seconds until it is worthless.
    #[schema(minimum = 1, maximum = 30)]
    expires_in: u64,
}

/// Get a ticket for a live connection
///
/// For browsers, which cannot send a token when they open a WebSocket. A ticket is good once, for 30 seconds. A lost
/// answer costs nothing: ask for another.
#[utoipa::path(
    post, path = "/api/v1/live/ticket", tag = "live", operation_id = "create_live_ticket",
    security(("bearer" = ["customer"])),
    responses((status = 201, body = LiveTicket))
)]
async fn issue_ticket(
    State(deps): State<Deps>,
    Customer(caller): Customer,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Answer<LiveTicket>)> {
    let ticket = ticket::issue(&mut *deps.hub.pool().acquire().await?, &deps.ambient, &caller).await?;
    let expires_in = ticket::LIFE.as_secs();
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, no_store, Answer(LiveTicket { ticket, expires_in })))
}

#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Opening {
    /// From POST /api/v1/live/ticket; instead of an Authorization header.
    #[param(min_length = 43, max_length = 43)]
    ticket: Option<String>,
    /// The last `seq` (staff: `position`) that was received: what came after it is sent, if it is still there.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Open a live connection
///
/// A WebSocket (RFC 6455). The server sends the state first and then every change, in order and without gaps: customers
/// see their own account, support and admins everything. Who is asking is shown by a ticket or by an Authorization
/// header. Browsers must come from an allowed origin. The messages, resuming and the close codes are described in
/// docs/live.md.
#[utoipa::path(
    get, path = "/api/v1/live", tag = "live", operation_id = "open_live",
    params(Opening), security(("bearer" = ["customer"])),
    responses(
        (status = 101, description = "The connection speaks WebSocket from here on"),
        (status = 426, body = Body, content_type = "application/problem+json", description = "Not a WebSocket handshake")
    )
)]
async fn open(
    State(deps): State<Deps>,
    Query(opening): Query<Opening>,
    headers: HeaderMap,
    caller: Result<Customer>,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    if !deps.origins.admit(&headers) {
        return Err(Problem::new(Kind::OriginRefused));
    }
    if opening.after.is_some_and(|after| after < 0) {
        return Err(Problem::validation(vec![FieldError::new(
            "?after",
            "must not be negative",
        )]));
    }
    // Before the ticket is spent, which lives longer than this takes.
    deps.hub.fed().await;
    let who = match &opening.ticket {
        // Not spent on a request that cannot become a connection.
        Some(_) if upgrade.is_err() => return Err(not_websocket()),
        Some(ticket) => redeem(&deps, ticket).await?,
        None => caller?.0,
    };
    let upgrade = upgrade.map_err(|_| not_websocket())?;
    let guest = match deps.hub.join(who) {
        Ok(guest) => Some(guest),
        // Said by a close code: a browser's script never sees the status of a refused upgrade.
        Err(Refusal::TooMany) => None,
        Err(Refusal::Unavailable) => return Err(Problem::new(Kind::Unavailable)),
    };
    let response = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .on_upgrade(move |socket| {
            let hub = deps.hub.clone();
            hub.track(serve(socket, deps, guest, opening.after))
        });
    Ok(response)
}

fn not_websocket() -> Problem {
    Problem::new(Kind::UpgradeRequired)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
}

async fn redeem(deps: &Deps, ticket: &str) -> Result<Principal> {
    let mut conn = deps.hub.pool().acquire().await?;
    let holder = ticket::redeem(&mut conn, &deps.ambient, ticket).await?;
    holder.ok_or_else(|| Problem::with(Kind::InvalidToken, "The ticket is not valid, was used or has expired"))
}

async fn serve(socket: axum::extract::ws::WebSocket, deps: Deps, guest: Option<Guest>, after: Option<i64>) {
    let Some(guest) = guest else {
        let mailbox = super::queue::Mailbox::new(0);
        return Wire::new(socket, &mailbox, deps.pace)
            .finish(End::Close(Close::TooMany))
            .await;
    };
    let mut wire = Wire::new(socket, &guest.seat.mailbox, deps.pace);
    let end = connection::converse(&mut wire, &deps.hub, &guest.seat, after).await;
    tracing::debug!(?end, role = guest.seat.who.role.name(), "live connection ended");
    wire.finish(end).await;
}
