//! Signals that end a server, and those that must not.
//!
//! Registering them is what keeps them from ending the process at once. Next: `serve.rs`.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ask for a drain; said twice, for the end at once.
const ENDING: [(SignalKind, &str); 4] = [
    (SignalKind::terminate(), "SIGTERM"),
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::hangup(), "SIGHUP"),
    (SignalKind::quit(), "SIGQUIT"),
];

/// Would end a process that does not know them.
const HARMLESS: [SignalKind; 3] =
    [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()];

/// Signals of this process, from its making on.
pub(super) struct Signals {
    ending: Vec<(Signal, &'static str)>,
    _harmless: Vec<Signal>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let ending = ENDING.into_iter().map(|(kind, name)| Ok((signal(kind)?, name)));
        let harmless = HARMLESS.into_iter().map(signal).collect::<io::Result<_>>()?;
        Ok(Self { ending: ending.collect::<io::Result<_>>()?, _harmless: harmless })
    }

    /// The next signal that asks for the end.
    pub(super) async fn ends(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            let mut ending = self.ending.iter_mut();
            let found =
                ending.find_map(|(s, name)| s.poll_recv(context).is_ready().then_some(*name));
            found.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}
