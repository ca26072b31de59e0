//! A headless Chromium, told what to do in the DevTools protocol over two pipes.
//!
//! Knows no page and no server. It is Debian's package `chromium`; without it the tests say so.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Longest time for one answer of the browser; its start takes a second.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks at a page that is not ready.
const LOOK: Duration = Duration::from_millis(100);
/// No window, no sandbox (tests run as root in containers), nothing asked of anybody else.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];
/// The protocol is on descriptors 3 and 4; a shell puts our two pipes there.
const SHELL: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// A running browser; ended when dropped.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    profile: PathBuf,
    newest_id: u64,
    complaints: Vec<String>,
}

/// One page of a browser.
#[derive(Clone, Debug)]
pub struct Page {
    session: String,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What `prefers-color-scheme` says.
    pub is_dark: bool,
}

impl Browser {
    /// Starts it, or says that it is not installed.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        if Command::new("chromium").arg("--version").output().is_err() {
            crate::skip("the dashboard: chromium is not installed (apt-get install chromium)");
            return Ok(None);
        }
        // Tests of one process may each have a browser.
        let id = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let name = id.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let profile = std::env::temp_dir().join(format!("gimbal-browser-{name}"));
        std::fs::create_dir_all(&profile).with_context(|| profile.display().to_string())?;
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "chromium"]).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = process.stdin.take().context("a pipe")?;
        let mut answers = BufReader::new(process.stdout.take().context("a pipe")?);
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while answers.read_until(0, &mut bytes).is_ok_and(|count| count > 0) {
                bytes.pop();
                let message = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                if sender.send(message).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let complaints = Vec::new();
        Ok(Some(Self { process, commands, messages, profile, newest_id: 0, complaints }))
    }

    /// Opens an address in a new page, which hides the others.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn open(&mut self, url: &str, view: View) -> anyhow::Result<Page> {
        let target = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", &attach)?;
        let session = attached["sessionId"].as_str().context("a session")?.to_owned();
        let page = Page { session };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(Some(&page), domain, &json!({}))?;
        }
        self.look(&page, view)?;
        self.call(Some(&page), "Page.navigate", &json!({"url": url}))?;
        Ok(page)
    }

    /// Gives a page another size or colour scheme.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn look(&mut self, page: &Page, view: View) -> anyhow::Result<()> {
        let View { width, height, is_dark } = view;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call(Some(page), "Emulation.setDeviceMetricsOverride", &metrics)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call(Some(page), "Emulation.setEmulatedMedia", &json!({"features": features}))?;
        Ok(())
    }

    /// Brings a page before the others.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn bring_to_front(&mut self, page: &Page) -> anyhow::Result<()> {
        self.call(Some(page), "Page.bringToFront", &json!({})).map(|_| ())
    }

    /// The value of an expression, as JSON.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> anyhow::Result<Value> {
        let evaluate = json!({"expression": expression, "returnByValue": true});
        let mut told = self.call(Some(page), "Runtime.evaluate", &evaluate)?;
        if !told["exceptionDetails"].is_null() {
            bail!("{expression}: {}", told["exceptionDetails"]);
        }
        Ok(told["result"]["value"].take())
    }

    /// Waits until an expression is true. Throwing is not being true: a page may still load.
    ///
    /// # Errors
    /// It is not in time.
    pub fn wait(&mut self, page: &Page, expression: &str, max: Duration) -> anyhow::Result<()> {
        const TOLD_AFTER: Duration = Duration::from_secs(10);
        let (from, mut is_told) = (Instant::now(), false);
        loop {
            let found = self.evaluate(page, expression);
            if matches!(found, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if from.elapsed() > max {
                let text = self.evaluate(page, "document.body.innerText")?;
                bail!(
                    "not after {max:?}: {expression} is {found:?}\n{}",
                    text.as_str().unwrap_or("")
                );
            }
            if from.elapsed() > TOLD_AFTER && !is_told {
                eprintln!("still waiting: {expression} is {found:?}");
                is_told = true;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The page as a PNG.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn screenshot(&mut self, page: &Page) -> anyhow::Result<Vec<u8>> {
        let shot = self.call(Some(page), "Page.captureScreenshot", &json!({"format": "png"}))?;
        from_base64(shot["data"].as_str().context("a picture")?)
    }

    /// What pages wrote to their console or the browser held against them, since last asked.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    fn call(&mut self, page: Option<&Page>, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.newest_id += 1;
        let mut command = json!({"id": self.newest_id, "method": method, "params": params});
        if let Some(page) = page {
            command["sessionId"] = page.session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes())?;
        self.commands.flush()?;
        let from = Instant::now();
        loop {
            let left = ANSWER_MAX.saturating_sub(from.elapsed());
            let mut message =
                self.messages.recv_timeout(left).with_context(|| method.to_owned())?;
            if message["id"] != self.newest_id {
                self.note(&message);
                continue;
            }
            if !message["error"].is_null() {
                bail!("{method}: {}", message["error"]);
            }
            return Ok(message["result"].take());
        }
    }

    fn note(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        if ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"]
            .contains(&method)
        {
            self.complaints.push(message["params"].to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children end when it is gone; what one of them still writes stays in the temporary
        // folder.
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

/// **Source**: RFC 4648 §4.
fn from_base64(text: &str) -> anyhow::Result<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|l| *l == letter).context("base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() -> anyhow::Result<()> {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYg==", "foob")] {
            assert_eq!(from_base64(text)?, bytes.as_bytes());
        }
        assert!(from_base64("*").is_err());
        Ok(())
    }
}
