//! Accepting connections, and ending them.
//!
//! No route is known here. Next: `router.rs`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Response, Uri};
use bytes::Bytes;
use gimbal_engine::meters;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::connections::{Connections, Crowded, Place};
use crate::hangup::{Hangups, Watcher};
use crate::peer::Peer;
use crate::repeats::Repeats;
use crate::router::router;
use crate::socket::Socket;
use crate::{AppState, HttpSettings, access};

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
/// The listener has no address, so it is none; or no descriptor is left at the start.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.local_addr()?;
    let settings = state.settings().clone();
    let watcher = Watcher::start()?;
    let upkeep = tokio::spawn(upkeep(state.clone()));
    let edge = Edge {
        router: router(state),
        connections: Connections::new(settings.connections_max),
        settings,
        graceful: GracefulShutdown::new(),
        hangups: Arc::clone(&watcher.hangups),
    };
    tokio::pin!(shutdown);
    let mut failures = Repeats::default();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => edge.take(stream, from),
            Err(error) => {
                counter!(meters::NOT_ACCEPTED).increment(1);
                // Mostly descriptors are short: an idle connection holds one.
                edge.connections.end_oldest();
                if let Some(times) = failures.note(&error.kind(), Instant::now()) {
                    warn!(%error, times, "connections not accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(edge.settings.close_timeout, edge.graceful.shutdown()).await.is_err() {
        warn!("connections were still open at the end");
    }
    upkeep.abort();
    Ok(())
}

/// What must be done now and then, until it is aborted.
async fn upkeep(state: AppState) {
    let exposition = state.exposition().cloned();
    let metrics = async {
        match exposition {
            Some(exposition) => exposition.keep_up().await,
            None => std::future::pending().await,
        }
    };
    let devices = state.readings().watch(state.models());
    let keys = state.settings().keys.keep_up();
    tokio::join!(metrics, access::tell_rest(&state), devices, keys);
}

/// Everything a new connection needs.
struct Edge {
    router: Router,
    connections: Arc<Connections>,
    settings: HttpSettings,
    graceful: GracefulShutdown,
    hangups: Arc<Hangups>,
}

impl Edge {
    /// Takes a connection, or closes it at once where there is no place: the client sees it and may
    /// retry.
    fn take(&self, stream: TcpStream, from: SocketAddr) {
        let Some(place) = self.connections.enter() else {
            counter!(meters::NOT_ACCEPTED).increment(1);
            debug!("connection closed: too many are open");
            return;
        };
        // Tokens are small frames: waiting to join them costs latency.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        let watch = self.hangups.watch(&stream).ok();
        let peer = Peer::new(from.ip(), watch.as_ref().map(|watch| Arc::clone(&watch.line)));
        let patience = self.settings.write_timeout;
        let socket = TokioIo::new(Socket::new(stream, patience, Arc::clone(&place)));
        let service = of_connection(self.router.clone(), peer, Arc::clone(&place));
        // A client that closes its half is taken as gone: that is how a client that gave up on an
        // answer is noticed before there is anything to write to it.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(false)
            .serve_connection(socket, service_fn(service));
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            let open = gauge!(meters::CONNECTIONS);
            open.increment(1.0);
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    debug!(%error, "connection ended");
                },
                () = place.ended() => debug!("an idle connection made room for another"),
            }
            open.decrement(1.0);
            drop(watch);
        });
    }
}

/// Answers the requests of one connection.
fn of_connection(
    router: Router,
    peer: Peer,
    place: Arc<Place>,
) -> impl Fn(hyper::Request<Incoming>) -> Answering {
    move |request| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        drop_trailing_slash(request.uri_mut());
        place.work();
        if place.is_reserved() {
            request.extensions_mut().insert(Crowded);
        }
        let (router, place) = (TowerToHyperService::new(router.clone()), Arc::clone(&place));
        Box::pin(async move {
            let answered = Answered(place);
            Ok(router.call(request).await?.map(|body| Body::new(Answer { body, answered })))
        })
    }
}

/// Tells a connection's place, when dropped, that its request is answered.
struct Answered(Arc<Place>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// An answer on its way.
struct Answer {
    body: Body,
    #[expect(dead_code, reason = "dropped with the body")]
    answered: Answered,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `/v1/models/` is `/v1/models`.
fn drop_trailing_slash(uri: &mut Uri) {
    let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else { return };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(shorter) = format!("{path}{query}").parse() {
        *uri = shorter;
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
