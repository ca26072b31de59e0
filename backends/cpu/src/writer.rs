//! The thread that writes packed weights to their file while they are used.
//!
//! The file is for the next start: who ends earlier stops the writer and loses only that. Next:
//! `packed_file.rs` for the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tracing::info;

use crate::memory::Memory;
use crate::packed_file::{PackedFile, Sum};

/// Writes a file beside those who use its weights; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts writing; `None` where there is no thread for it, and each start then packs anew.
    pub(crate) fn start(
        thread: thread::Builder,
        file: PackedFile,
        memory: Arc<Memory>,
        sum: Sum,
    ) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let path = file.path.clone();
        let is_stopped = stop.clone();
        let write = move || {
            let (path, bytes) = (file.path.display(), memory.bytes());
            match file.write(bytes, &sum, &is_stopped) {
                Ok(()) => info!(%path, bytes = bytes.len(), "packed weights kept"),
                Err(error) => {
                    info!(%path, %error, "packed weights are not kept; the next start packs them anew");
                }
            }
        };
        match thread.name("keep".to_owned()).spawn(write) {
            Ok(thread) => Some(Self { stop, thread: Some(thread) }),
            Err(error) => {
                let path = path.display();
                info!(%path, %error, "packed weights are not kept: there is no thread for it");
                None
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // The panic was told by its hook, and the file has no name yet: nobody else is concerned.
            info!("the thread that keeps packed weights panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::packed_file::HEADER;

    /// A file of 64 MiB in a folder of its own, its weights and their checksum.
    fn case(name: &str) -> (PackedFile, Arc<Memory>) {
        let folder = std::env::temp_dir().join(format!("gimbal-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let length = HEADER + (64 << 20);
        let memory = Arc::new(Memory::of(&vec![7; length]));
        (PackedFile { path: folder.join("weights.packed"), length }, memory)
    }

    #[test]
    fn a_dropped_writer_has_ended_and_leaves_all_or_nothing() {
        let (file, memory) = case("dropped");
        let folder = file.path.parent().expect("its folder").to_owned();
        let writer = Writer::start(thread::Builder::new(), file, memory.clone(), [0; 32]);
        drop(writer.expect("a thread"));
        assert_eq!(Arc::strong_count(&memory), 1, "its thread has ended");
        let left: Vec<_> = fs::read_dir(&folder).expect("ours").flatten().collect();
        assert!(left.iter().all(|file| file.path().ends_with("weights.packed")), "{left:?}");
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn who_is_stopped_leaves_no_file() {
        let (file, memory) = case("stopped");
        let folder = file.path.parent().expect("its folder").to_owned();
        let error = file.write(memory.bytes(), &[0; 32], &AtomicBool::new(true));
        assert_eq!(error.expect_err("stopped").to_string(), "stopped before it was whole");
        assert_eq!(fs::read_dir(&folder).expect("ours").count(), 0);
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn without_a_thread_nothing_is_written_and_nobody_fails() {
        let (file, memory) = case("no-thread");
        let folder = file.path.parent().expect("its folder").to_owned();
        // No address space holds such a stack.
        let thread = thread::Builder::new().stack_size(1 << 60);
        assert!(Writer::start(thread, file, memory.clone(), [0; 32]).is_none());
        assert_eq!(Arc::strong_count(&memory), 1, "the weights stay with their user alone");
        fs::remove_dir_all(&folder).expect("ours");
    }
}
