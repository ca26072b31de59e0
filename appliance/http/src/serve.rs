//! Accepting connections, and ending them.
//!
//! No route is known here. Next: `router.rs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use gimbal_engine::meters;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::router::router;
use crate::socket::Socket;
use crate::{AppState, HttpSettings};

/// Bytes of a request's head; the most AWS load balancers send are 64 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Pause after a failed accept (no descriptors are left): others may close theirs meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` completes, then lets open requests end for `close_timeout`.
///
/// Connections are accepted at once, whatever phase the boot is in. Drain the services before
/// completing `shutdown`, so that `/ping` and refusals are answered meanwhile.
///
/// # Errors
/// The listener has no address, so it is none.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.local_addr()?;
    let settings = state.settings().clone();
    let upkeep = state
        .exposition()
        .cloned()
        .map(|exposition| tokio::spawn(async move { exposition.keep_up().await }));
    let router = router(state);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(settings.connections_max));
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without a place the connection is closed at once: the client sees it and may retry.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!("connection closed: too many are open");
            continue;
        };
        spawn_connection(stream, router.clone(), &settings, &graceful, place);
    }
    drop(listener);
    if tokio::time::timeout(settings.close_timeout, graceful.shutdown()).await.is_err() {
        warn!("connections were still open at the end");
    }
    if let Some(upkeep) = upkeep {
        upkeep.abort();
    }
    Ok(())
}

fn spawn_connection(
    stream: TcpStream,
    router: Router,
    settings: &HttpSettings,
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    // Tokens are small frames: waiting to join them costs latency.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
    let socket = TokioIo::new(Socket::new(stream, settings.write_timeout));
    // A client that closes its half is taken as gone: that is how a client that gave up on an
    // answer is noticed before there is anything to write to it.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .serve_connection(socket, TowerToHyperService::new(router));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        let open = gauge!(meters::CONNECTIONS);
        open.increment(1.0);
        if let Err(error) = connection.await {
            debug!(%error, "connection ended");
        }
        open.decrement(1.0);
        drop(place);
    });
}
