//! Tickets: a browser cannot set headers on a WebSocket, and a token in an address ends up in logs. So it fetches a
//! ticket with its token and shows that: random, good once, for [`LIFE`], for the session that fetched it. Only its hash
//! is stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::PgConnection;

use super::store;
use crate::clock::Ambient;
use crate::crypto;
use crate::identity::Principal;

pub const LIFE: Duration = Duration::from_secs(30);

/// A new ticket for this caller.
pub async fn issue(conn: &mut PgConnection, ambient: &Ambient, holder: &Principal) -> sqlx::Result<String> {
    let secret: [u8; 32] = ambient.entropy.bytes();
    store::insert_ticket(conn, ambient, &crypto::sha256(&secret), holder, LIFE).await?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

/// Spends a ticket. `None` when it is not one, was spent, has expired, or its session is over.
pub async fn redeem(conn: &mut PgConnection, ambient: &Ambient, ticket: &str) -> sqlx::Result<Option<Principal>> {
    let Some(secret) = decode(ticket) else {
        return Ok(None);
    };
    store::spend_ticket(conn, ambient, &crypto::sha256(&secret)).await
}

fn decode(ticket: &str) -> Option<[u8; 32]> {
    // 32 bytes have 43 digits; nothing else needs decoding.
    let bytes = (ticket.len() == 43).then(|| URL_SAFE_NO_PAD.decode(ticket).ok())??;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_form_is_looked_up() {
        let secret = [200; 32];
        let ticket = URL_SAFE_NO_PAD.encode(secret);
        assert_eq!(decode(&ticket), Some(secret));
        for bad in [
            "",
            "x",
            &ticket[1..],
            &format!("{ticket}="),
            &"é".repeat(43),
            &"!".repeat(43),
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
