//! Threads for everything about a request that is not waiting for its socket.
//!
//! The threads that read and write sockets also answer `/ping` and `/metrics`; whatever may take
//! longer than a moment (parsing, answers, errors) runs here. A task ends when nobody waits for it.
//! Rendering and tokenizing have threads of their own (`gimbal_engine::TextPool`). Next: `router.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// Threads: as many as answer sockets.
const THREADS: usize = 2;

/// The threads.
#[derive(Debug)]
pub(crate) struct Work(Option<Runtime>);

/// A piece of work; dropping it ends it at its next pause.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl Work {
    /// Where no thread can be started, work is done where it is asked for.
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("work")
            .enable_time()
            .build();
        Self(runtime.ok())
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        match &self.0 {
            Some(runtime) => Task(runtime.spawn(work)),
            None => Task(tokio::spawn(work)),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // May be dropped within another runtime, where nobody may wait.
            runtime.shutdown_background();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
