//! Web pages: which may use the API, and which may not though a browser would let them.
//!
//! A server that listens for this machine only is still reached by every page in a browser on it: a
//! page may post without reading the answer, and by a name of its own that leads here (DNS rebinding)
//! even read it. So there a request must call the server by a name of this machine, and a page of
//! another origin must be named in `cors_origins`. Next: `access.rs`.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header};

use crate::fault::{Fault, Kind};

/// Methods and headers that a page is told it may use; others a page may name itself.
const METHODS: &str = "GET, POST, DELETE, OPTIONS";
const HEADERS: &str = "authorization, x-api-key, api-key, content-type, x-request-id";
/// Headers of answers that a page may read.
const EXPOSED: &str = "x-request-id, x-gimbal-ignored, retry-after";
/// How long a browser need not ask again.
const MAX_AGE_S: &str = "600";
/// Answered whatever name it is asked by: probes have names of their own, and learn nothing.
const PROBES: [&str; 3] = ["/ping", "/livez", "/health"];

/// The rules, as set.
#[derive(Clone, Debug, Default)]
pub struct WebRules {
    /// The server listens for this machine only.
    pub is_local: bool,
    /// Origins of pages that may use the API; `*` is all.
    pub origins: Vec<String>,
    /// Names beside this machine's own by which it may be called; `*` is all.
    pub hosts: Vec<String>,
}

impl WebRules {
    /// A list as settings write it; `none` is an empty one.
    #[must_use]
    pub fn list(text: &str) -> Vec<String> {
        let items = text.split(',').map(|item| item.trim().trim_end_matches('/'));
        items.filter(|item| !["", "none"].contains(item)).map(str::to_ascii_lowercase).collect()
    }

    /// Refuses what a page of somebody else sends, and what does not say whom it asks.
    ///
    /// **Source**: RFC 9112 §3.2 for the number of hosts.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Fault> {
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Err(Fault::new(Kind::Invalid, format!("{hosts} Host headers; one is needed")));
        }
        if !self.is_local || PROBES.contains(&request.uri().path()) {
            return Ok(());
        }
        let host = text(request.headers(), &header::HOST).map(|host| name_of(&host));
        if let Some(host) = host.as_deref().filter(|host| !self.is_own(host)) {
            let shown: String = host.chars().take(100).collect();
            return Err(Fault::new(
                Kind::Forbidden,
                format!(
                    "{shown:?} is no name of this machine, and the server listens for it only; \
                     name it in allowed_hosts"
                ),
            ));
        }
        let origin = text(request.headers(), &header::ORIGIN);
        let foreign =
            origin.filter(|origin| !self.allows(origin) && !is_of(origin, host.as_deref()));
        match foreign {
            // A page that asks first is told by what the answer lacks.
            Some(_) if is_preflight(request) => Ok(()),
            Some(_) => Err(Fault::new(
                Kind::Forbidden,
                "a web page of another origin may not use this server; name it in cors_origins",
            )),
            None => Ok(()),
        }
    }

    /// The answer to a page that asks what it may do; `None` if nobody asks.
    pub(crate) fn preflight(&self, request: &Request) -> Option<Response<Body>> {
        if !is_preflight(request) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        let origin = text(request.headers(), &header::ORIGIN)?;
        if self.allows(&origin) {
            let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            let headers = response.headers_mut();
            let allowed = asked.unwrap_or(HeaderValue::from_static(HEADERS));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            let mut told = |name: HeaderName, value| {
                headers.insert(name, HeaderValue::from_static(value));
            };
            told(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            told(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        }
        Some(response)
    }

    /// Tells a page whether it may read an answer.
    pub(crate) fn tell(&self, origin: Option<&HeaderValue>, response: &mut Response<Body>) {
        if self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        if origin.to_str().is_ok_and(|origin| self.allows(&origin.to_ascii_lowercase())) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known == "*" || known == origin)
    }

    /// True if a host is a name of this machine.
    fn is_own(&self, host: &str) -> bool {
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let named = || self.hosts.iter().any(|known| known == "*" || known == host);
        is_address || is_local || named() || is_this_machine(host)
    }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.headers().contains_key(header::ORIGIN)
}

fn is_this_machine(host: &str) -> bool {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().to_ascii_lowercase();
    host == name || host.strip_suffix(".local") == Some(&name)
}

/// True if an origin is the server itself, by the name it was called.
fn is_of(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| name_of(authority));
    authority.is_some() && authority.as_deref() == host
}

/// A host without its port.
fn name_of(authority: &str) -> String {
    let end = match (authority.rfind(']'), authority.rfind(':')) {
        (bracket, Some(colon)) if bracket.is_none_or(|bracket| bracket + 1 == colon) => colon,
        _ => authority.len(),
    };
    authority.get(..end).unwrap_or_default().to_owned()
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: &str, hosts: &str) -> WebRules {
        WebRules { is_local: true, origins: WebRules::list(origins), hosts: WebRules::list(hosts) }
    }

    fn check(rules: &WebRules, host: &str, origin: Option<&str>, is_fine: bool) {
        let mut request = Request::builder().uri("/v1/models").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Body::empty()).expect("a request");
        assert_eq!(rules.check(&request).is_ok(), is_fine, "{host} {origin:?}");
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let plain = rules("", "");
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:80", "app.localhost"] {
            check(&plain, host, None, true);
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "", "[::1].evil"]
        {
            check(&plain, host, None, false);
        }
        check(&rules("", "models.lan, x"), "Models.lan:8080", None, true);
        check(&rules("", "*"), "evil.example", None, true);
        check(&WebRules { is_local: false, ..plain }, "evil.example", Some("http://a"), true);
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_named() {
        let plain = rules("", "");
        check(&plain, "localhost:8080", Some("http://localhost:8080"), true);
        check(&plain, "localhost:8080", Some("https://evil.example"), false);
        check(&plain, "localhost:8080", Some("null"), false);
        check(&rules("https://a.example/", ""), "localhost", Some("https://A.example"), true);
        check(&rules("https://a.example", ""), "localhost", Some("http://a.example"), false);
        check(&rules("*", ""), "localhost", Some("null"), true);
    }
}
