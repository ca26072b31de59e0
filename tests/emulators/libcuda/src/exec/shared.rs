//! Shared memory of a block: bytes, what was written since the block began, and who touched what since
//! the last barrier.

/// Granule of the race detector: accesses of other warps to one are a race if one of them writes.
const GRANULE: usize = 4;
/// Several warps have read.
const MANY: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Shared {
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// Of each granule the epoch and the warp of the last write, and of reads.
    writers: Vec<(u32, u32)>,
    readers: Vec<(u32, u32)>,
    /// Counts barriers, from 1.
    epoch: u32,
}

impl Shared {
    pub(super) fn new(bytes: usize) -> Self {
        let granules = bytes.div_ceil(GRANULE);
        Self {
            bytes: vec![0xff; bytes],
            written: vec![false; bytes],
            writers: vec![(0, 0); granules],
            readers: vec![(0, 0); granules],
            epoch: 1,
        }
    }

    /// A block begins: nothing is written.
    pub(super) fn begin(&mut self) {
        self.bytes.fill(0xff);
        self.written.fill(false);
        self.pass_barrier();
    }

    /// All warps have met.
    pub(super) fn pass_barrier(&mut self) {
        self.epoch += 1;
    }

    /// Places of bytes, which begin at a multiple of `align`.
    fn range(&self, at: i64, count: usize, align: usize) -> Result<std::ops::Range<usize>, String> {
        let size = self.bytes.len();
        let start = usize::try_from(at).ok().filter(|start| start + count <= size);
        match start {
            Some(start) if start.is_multiple_of(align) => Ok(start..start + count),
            Some(_) => Err(format!("{count} bytes of shared memory at {at}, which is not aligned")),
            None => Err(format!("{count} bytes at {at} of {size} bytes of shared memory")),
        }
    }

    pub(super) fn read(
        &mut self,
        at: i64,
        count: usize,
        align: usize,
        warp: u32,
    ) -> Result<&[u8], String> {
        let range = self.range(at, count, align)?;
        if self.written[range.clone()].contains(&false) {
            return Err(format!("reads shared memory at {at} that nobody wrote"));
        }
        for granule in range.start / GRANULE..range.end.div_ceil(GRANULE) {
            let (epoch, writer) = self.writers[granule];
            if epoch == self.epoch && writer != warp {
                return Err(race(at, "reads", writer));
            }
            let (epoch, reader) = self.readers[granule];
            let is_other = epoch == self.epoch && reader != warp;
            self.readers[granule] = (self.epoch, if is_other { MANY } else { warp });
        }
        Ok(&self.bytes[range])
    }

    pub(super) fn write(
        &mut self,
        at: i64,
        bytes: &[u8],
        align: usize,
        warp: u32,
    ) -> Result<(), String> {
        let range = self.claim(at, bytes.len(), align, warp)?;
        self.written[range.clone()].fill(true);
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Reads for an atomic change: those of other warps are no race.
    pub(super) fn read_atomic(&self, at: i64, to: &mut [u8]) -> Result<(), String> {
        let range = self.range(at, to.len(), to.len())?;
        if self.written[range.clone()].contains(&false) {
            return Err(format!("changes shared memory at {at} that nobody wrote"));
        }
        to.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    /// Writes what `read_atomic` read.
    pub(super) fn write_atomic(&mut self, at: i64, bytes: &[u8]) -> Result<(), String> {
        let range = self.range(at, bytes.len(), bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// A write that comes later, when a copy is waited for: the race is now.
    pub(super) fn claim(
        &mut self,
        at: i64,
        count: usize,
        align: usize,
        warp: u32,
    ) -> Result<std::ops::Range<usize>, String> {
        let range = self.range(at, count, align)?;
        for granule in range.start / GRANULE..range.end.div_ceil(GRANULE) {
            for (who, does) in [(self.writers[granule], "wrote"), (self.readers[granule], "read")] {
                let (epoch, other) = who;
                if epoch == self.epoch && other != warp {
                    return Err(race(at, "writes what was", other) + &format!(" ({does})"));
                }
            }
            self.writers[granule] = (self.epoch, warp);
        }
        Ok(range)
    }
}

fn race(at: i64, does: &str, other: u32) -> String {
    let other = if other == MANY { "several warps".to_owned() } else { format!("warp {other}") };
    format!("a race in shared memory: {does} at {at} touched by {other} since the last barrier")
}
