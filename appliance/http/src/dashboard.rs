//! The dashboard at `/`: one page with its style and scripts inside, and what a browser is told
//! about it. It asks for nothing but `/status` and `/metrics`.
//!
//! What it shows is decided in `dashboard/*.js`. Next: `status.rs`.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Response};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../dashboard/page.html");
const STYLE: &str = include_str!("../dashboard/style.css");
/// From the exposition to figures, then from figures to the page.
const SCRIPT: [&str; 3] = [
    include_str!("../dashboard/figures.js"),
    include_str!("../dashboard/charts.js"),
    include_str!("../dashboard/view.js"),
];
/// Where they stand in the page.
const STYLE_MARK: &str = "/* style */";
const SCRIPT_MARK: &str = "/* script */";

static ASSEMBLED: LazyLock<Assembled> = LazyLock::new(Assembled::new);

/// The page, and the policy that lets exactly this style and this script run.
struct Assembled {
    html: String,
    policy: HeaderValue,
}

impl Assembled {
    fn new() -> Self {
        let script = SCRIPT.concat();
        let html = PAGE.replace(STYLE_MARK, STYLE).replace(SCRIPT_MARK, &script);
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            base64(&Sha256::digest(STYLE)),
            base64(&Sha256::digest(&script)),
        );
        let policy = HeaderValue::from_str(&policy).expect("visible letters only");
        Self { html, policy }
    }
}

/// The page.
pub(crate) fn page() -> Response<Body> {
    let mut response = Response::new(Body::from(ASSEMBLED.html.as_str()));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CONTENT_SECURITY_POLICY, ASSEMBLED.policy.clone());
    guard(&mut response);
    response
}

/// What a browser is told about everything the dashboard is made of: keep nothing, guess nothing,
/// tell nobody.
pub(crate) fn guard(response: &mut Response<Body>) {
    let told: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in told {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// **Source**: RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| chunk.get(i).copied().map_or(0, usize::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * i) & 63];
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimbal_engine::meters::TABLE;

    #[test]
    fn every_metric_it_reads_is_in_the_table() {
        let script = SCRIPT.concat();
        let mut count = 0;
        for rest in script.split("\"gimbal_").skip(1) {
            let name = format!("gimbal_{}", rest.split('"').next().unwrap_or_default());
            assert!(TABLE.iter().any(|meter| meter.name == name), "{name}");
            count += 1;
        }
        assert!(count >= 15, "{count} names");
    }

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let html = &ASSEMBLED.html;
        assert!(!html.contains(STYLE_MARK) && !html.contains(SCRIPT_MARK));
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        assert!(html.contains(&format!("<script>{}</script>", SCRIPT.concat())));
        for outside in ["https:", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        // An icon's namespace is a name, not an address.
        let addresses = html.matches("http:").count();
        assert_eq!(addresses, html.matches("http://www.w3.org/2000/svg").count());
        // Neither can end its element early.
        assert!(!STYLE.contains("</") && !SCRIPT.concat().contains("</"));
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }
}
