//! The address to listen on, and why it cannot be had.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};

use gimbal_settings::Settings;

use crate::failure::Failure;

/// Why there is no listener, and what to do about it.
#[derive(Debug)]
pub(super) struct Unheard {
    what: String,
    remedy: String,
}

impl Unheard {
    /// What happened.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl From<Unheard> for Failure {
    fn from(Unheard { what, remedy }: Unheard) -> Self {
        Self::unavailable(format!("{what}; {remedy}"))
    }
}

/// Addresses that the settings mean, at least one. An IPv6 address may stand in brackets, as in a URL.
///
/// # Errors
/// The host is neither an address nor a known name.
pub(super) fn addresses(settings: &Settings) -> Result<Vec<SocketAddr>, Unheard> {
    let host = settings.text("host").unwrap_or("127.0.0.1").trim();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = settings.integer("port").and_then(|p| u16::try_from(p).ok()).unwrap_or(8080);
    let why = match (bare, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
        Ok(_) => "it has no address".to_owned(),
        Err(error) => error.to_string(),
    };
    let from = &settings.entry("host").source;
    let what = format!("host = {host} (from {from}) is neither an address nor a known name: {why}");
    let remedy = "set --host to an address such as 127.0.0.1, 0.0.0.0 or ::1, without a port or \
                  http://";
    Err(Unheard { what, remedy: remedy.to_owned() })
}

/// Why none of these addresses could be had.
pub(super) fn refused(settings: &Settings, addresses: &[SocketAddr], error: &io::Error) -> Unheard {
    let from = |key: &str| settings.entry(key).source.to_string();
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let what = format!(
        "cannot listen on {}: {error} (host from {}, port from {})",
        shown.join(", "),
        from("host"),
        from("port")
    );
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => "end what uses the port (ss -ltnp), or set --port",
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address; --host 0.0.0.0 listens on all"
        }
        ErrorKind::PermissionDenied => "set --port to 1024 or more",
        _ => "set --host or --port",
    };
    Unheard { what, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use gimbal_settings::{Facts, Given};

    use super::*;

    fn settings(host: &str) -> Settings {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let flags = vec![pair("host", host), pair("port", "9")];
        let given = Given { flags, ..Given::default() };
        Settings::resolve(&Facts::default(), &given).expect("all legal")
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let cases = [
            ("127.0.0.1", "127.0.0.1:9"),
            ("0.0.0.0", "0.0.0.0:9"),
            ("::1", "[::1]:9"),
            ("[::1]", "[::1]:9"),
            ("::", "[::]:9"),
            (" 127.0.0.1 ", "127.0.0.1:9"),
        ];
        for (host, expect) in cases {
            let found = addresses(&settings(host)).expect(host);
            assert_eq!(found[0].to_string(), expect, "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_said_and_not_the_port_blamed() {
        // None of these is ever asked for on a network: they are no names.
        for host in ["[::1", "::1]", "1.2.3.4:80", "http://x", "a b", "-"] {
            let found = addresses(&settings(host)).expect_err(host);
            assert!(found.what().starts_with(&format!("host = {host} (from flag")), "{found:?}");
            assert!(found.remedy().contains("without a port"), "{found:?}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_remedy() {
        let cases = [
            (ErrorKind::AddrInUse, "ss -ltnp"),
            (ErrorKind::AddrNotAvailable, "0.0.0.0"),
            (ErrorKind::PermissionDenied, "1024"),
            (ErrorKind::Other, "--host"),
        ];
        let settings = settings("10.9.8.7");
        let addresses = addresses(&settings).expect("an address");
        for (kind, word) in cases {
            let found = refused(&settings, &addresses, &kind.into());
            assert!(found.what().starts_with("cannot listen on 10.9.8.7:9: "), "{found:?}");
            assert!(found.remedy().contains(word), "{found:?}");
        }
    }
}
