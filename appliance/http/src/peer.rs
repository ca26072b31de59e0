//! Who sent a request, and whether they are still there.
//!
//! Next: `hangup.rs`.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use gimbal_engine::Client;

use crate::hangup::Line;
use crate::keys;

/// What clients' names are hashed with: nobody can choose to share another one's seats.
static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The other side of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    line: Option<Arc<Line>>,
}

impl Peer {
    pub(crate) fn new(address: IpAddr, line: Option<Arc<Line>>) -> Self {
        Self { address, line }
    }

    /// That of a request.
    pub(crate) fn of(request: &Request) -> Self {
        let unknown = || Self::new(Ipv4Addr::UNSPECIFIED.into(), None);
        request.extensions().get::<Self>().cloned().unwrap_or_else(unknown)
    }

    /// Waits until they have hung up.
    pub(crate) async fn gone(&self) {
        match &self.line {
            Some(line) => line.cut().await,
            None => std::future::pending().await,
        }
    }

    /// Who shares cached prefixes: those with the same key and the same salt.
    pub(crate) fn salt(&self, headers: &HeaderMap, cache_salt: Option<&str>) -> u64 {
        match (self.client(headers).key, cache_salt) {
            (key, None) => key,
            (key, Some(salt)) => HASH.hash_one((key, salt)),
        }
    }

    /// With whom seats are shared: where they are, and the key they send.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Client {
        let other = || headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let key = keys::sent(headers).next().or_else(other);
        let key = key.map_or(0, |key| HASH.hash_one(key));
        Client { address: HASH.hash_one(self.address), key }
    }
}
