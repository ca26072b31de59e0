//! Launches that were recorded once and are queued together.
//!
//! Next: `event.rs`.

use std::ptr;
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUgraphExec, CUstreamCaptureMode};
use gimbal_hal::DeviceError;

use super::context::Context;
use super::lost;

/// Launches with their parameters.
#[derive(Debug)]
pub(crate) struct Graph {
    context: Arc<Context>,
    exec: CUgraphExec,
}

// SAFETY: it belongs to its context, which any thread may make its own.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `queue` queues on the stream, which does not run then.
    pub(super) fn capture(
        context: &Arc<Context>,
        queue: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Self, DeviceError> {
        let stream = context.stream();
        // Other threads of the process may allocate meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        let begun = unsafe { result::stream::begin_capture(stream, mode) };
        begun.map_err(|error| lost("cuStreamBeginCapture", error))?;
        let queued = queue();
        // SAFETY: the stream lives and is being captured; a capture that failed ends here, too.
        let graph = unsafe { result::stream::end_capture(stream) };
        queued?;
        let graph = graph.map_err(|error| lost("cuStreamEndCapture", error))?;
        let mut exec = ptr::null_mut();
        // SAFETY: the graph was made above; no flag is set.
        let code = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0) };
        // SAFETY: the graph is destroyed once; what was made of it is its own.
        let _ = unsafe { result::graph::destroy(graph) };
        code.result().map_err(|error| lost("cuGraphInstantiateWithFlags", error))?;
        Ok(Self { context: context.clone(), exec })
    }

    /// Queues all of it.
    ///
    /// # Errors
    /// The device is lost.
    ///
    /// # Safety
    /// What was promised of each launch when it was recorded still holds, and does until the stream has come
    /// past this.
    pub(crate) unsafe fn launch(&self) -> Result<(), DeviceError> {
        // SAFETY: graph and stream live; the caller answers for what the launches use.
        let queued = unsafe { result::graph::launch(self.exec, self.context.stream()) };
        queued.map_err(|error| lost("cuGraphLaunch", error))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: it is destroyed once; the driver keeps it until it has run.
            let _ = unsafe { result::graph::exec_destroy(self.exec) };
        }
    }
}
