//! Why a connection ends. The numbers are the protocol: clients act on them, so they never change their meaning.
//!
//! 40xx: connect again, with `after`. 44xx: connecting again would end the same way. Violations of the WebSocket
//! protocol itself get RFC 6455's own codes.

use tokio_tungstenite::tungstenite;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The server goes away; another replica, or its successor, answers.
    Shutdown,
    /// More was queued than the connection's share of memory.
    SlowConsumer,
    /// The server could not read what it has to send.
    Failed,
    /// A ping was not answered, or nothing could be sent for too long.
    NoPong,
    /// A message that the protocol does not know.
    BadMessage,
    /// The session has ended, or its rights have changed.
    SessionOver,
    /// More messages than a client has reason to send.
    Flood,
    /// The account has too many connections open.
    TooMany,
    /// RFC 6455: a frame that may not be.
    Protocol,
    /// RFC 6455: text that is not UTF-8.
    NotText,
    /// RFC 6455: a message above the limit.
    TooLarge,
}

impl Close {
    pub const ALL: &'static [Self] = &[
        Self::Shutdown,
        Self::SlowConsumer,
        Self::Failed,
        Self::NoPong,
        Self::BadMessage,
        Self::SessionOver,
        Self::Flood,
        Self::TooMany,
        Self::Protocol,
        Self::NotText,
        Self::TooLarge,
    ];

    pub fn code(self) -> u16 {
        match self {
            Self::Shutdown => 4001,
            Self::SlowConsumer => 4008,
            Self::Failed => 4011,
            Self::NoPong => 4012,
            Self::BadMessage => 4400,
            Self::SessionOver => 4401,
            Self::Flood => 4429,
            Self::TooMany => 4430,
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::SlowConsumer => "slow consumer",
            Self::Failed => "internal error",
            Self::NoPong => "no pong",
            Self::BadMessage => "unknown message",
            Self::SessionOver => "session over",
            Self::Flood => "too many messages",
            Self::TooMany => "too many connections",
            Self::Protocol => "protocol error",
            Self::NotText => "not UTF-8",
            Self::TooLarge => "message too large",
        }
    }

    /// What to answer to a transport's error; `None` when nobody is left to hear it.
    pub fn for_error(error: axum::Error) -> Option<Self> {
        use tungstenite::Error;
        let error = error.into_inner().downcast::<Error>().ok()?;
        match *error {
            Error::Capacity(_) => Some(Self::TooLarge),
            Error::Utf8(_) => Some(Self::NotText),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(Self::Protocol),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_the_split_is_kept() {
        let reconnect = [Close::Shutdown, Close::SlowConsumer, Close::Failed, Close::NoPong];
        let mut codes: Vec<_> = Close::ALL.iter().map(|close| close.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Close::ALL.len());
        for close in Close::ALL {
            let expected = match close.code() {
                4000..4400 => true,
                4400..4500 | 1000..1016 => false,
                other => panic!("{other} is in no range"),
            };
            assert_eq!(reconnect.contains(close), expected, "{close:?}");
            assert!(close.reason().len() <= 123, "RFC 6455 leaves no more room");
        }
    }

    #[test]
    fn the_page_for_clients_lists_every_code() {
        let page = include_str!("../../docs/live.md");
        for close in Close::ALL {
            let row = format!("| {} | {} |", close.code(), close.reason());
            assert!(page.contains(&row), "docs/live.md has no row {row:?}");
        }
    }
}
