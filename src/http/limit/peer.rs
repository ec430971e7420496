//! Who is at the other end: the socket's address or, behind a proxy that we trust, the one it reports.
//!
//! `X-Forwarded-For` is read from the right, as long as the hop that wrote the entry is trusted; what stands further
//! left was written by a stranger and may be anything. Without trusted proxies the header is not read at all.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::extract::Peer;

/// An address or a CIDR range, as in `10.42.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither an address nor a range such as 10.42.0.0/16")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().ok()),
            None => (text, Some(u32::MAX)),
        };
        let (Ok(address), Some(prefix)) = (address.parse::<IpAddr>(), prefix) else {
            return Err(NotANetwork(text.to_owned()));
        };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        if prefix > whole && prefix != u32::MAX {
            return Err(NotANetwork(text.to_owned()));
        }
        Ok(Self {
            address,
            prefix: prefix.min(whole),
        })
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        // A shift by the whole width (prefix 0) is no shift in Rust; None then means "everything matches".
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits())
                .checked_shr(32 - self.prefix)
                .is_none_or(|differs| differs == 0),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits())
                .checked_shr(128 - self.prefix)
                .is_none_or(|differs| differs == 0),
            _ => false,
        }
    }
}

/// The proxies whose word about the client is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client, given the socket's address and the forwarded entries from left to right.
    pub fn client<'a>(&self, socket: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut hop = socket.to_canonical();
        for entry in forwarded.rev() {
            if !self.trusts(hop) {
                break;
            }
            let Some(address) = address_of(entry.trim()) else {
                break;
            };
            hop = address.to_canonical();
        }
        hop
    }
}

/// Some proxies add the port.
fn address_of(entry: &str) -> Option<IpAddr> {
    let unbracketed = entry.trim_start_matches('[').trim_end_matches(']');
    let with_port = || entry.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    unbracketed.parse().ok().or_else(with_port)
}

/// Middleware: leaves a [`Peer`] with the request. The server must be served with `ConnectInfo<SocketAddr>`.
pub async fn layer(State(trusted): State<Arc<TrustedProxies>>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(socket)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let lines = request.headers().get_all("x-forwarded-for").iter();
        let entries: Vec<&str> = lines
            .flat_map(|line| line.to_str().unwrap_or("unreadable").split(','))
            .collect();
        let peer = Peer(trusted.client(socket.ip(), entries.into_iter()));
        request.extensions_mut().insert(peer);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_hops_are_believed() {
        let table = [
            // trusted, socket, X-Forwarded-For, client
            ("", "192.0.2.1", "6.6.6.6", "192.0.2.1"),
            ("10.0.0.0/8", "192.0.2.1", "6.6.6.6", "192.0.2.1"),
            ("10.0.0.0/8", "10.1.2.3", "", "10.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", "192.0.2.1", "192.0.2.1"),
            ("10.0.0.0/8", "10.1.2.3", "6.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.0/8", "10.1.2.3", "6.6.6.6, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
            ("10.0.0.0/8", "10.1.2.3", "192.0.2.1, nonsense", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3", "192.0.2.1:4711", "192.0.2.1"),
            ("10.1.2.3", "10.1.2.4", "192.0.2.1", "10.1.2.4"),
            ("10.1.2.3", "::ffff:10.1.2.3", "[2001:db8::1]:443", "2001:db8::1"),
            ("::1", "::1", "[2001:db8::1]", "2001:db8::1"),
            ("fd00::/8", "fd12::1", "2001:db8::1", "2001:db8::1"),
            ("0.0.0.0/0", "203.0.113.9", "192.0.2.1", "192.0.2.1"),
        ];
        for (trusted, socket, forwarded, client) in table {
            let trusted: TrustedProxies = trusted
                .split_terminator(',')
                .map(|network| network.parse().unwrap())
                .collect();
            let entries: Vec<&str> = forwarded.split_terminator(',').collect();
            let found = trusted.client(socket.parse().unwrap(), entries.into_iter());
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{socket} {forwarded}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "proxy"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
