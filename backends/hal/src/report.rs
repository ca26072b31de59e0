//! How near a platform's kernels come to what its devices can do: what `Tools::measure` answers.
//!
//! Plain figures, all of one run. Next: `sample.rs`.

/// What the CPU can do, all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    /// Bytes a second that are read from memory, where it is fastest.
    pub read: f64,
    /// Operations a second (two to a multiply-add) of nibbles with int8, in registers.
    pub nibbles: f64,
    /// The same with an offset for each block of 32.
    pub offsets: f64,
    /// The same of int8 with int8.
    pub bytes: f64,
    /// The same of f32.
    pub floats: f64,
}

/// One kernel at one number of rows.
#[derive(Clone, Debug)]
pub struct KernelFigure {
    /// The type of the weights.
    pub dtype: &'static str,
    /// Rows of activations.
    pub rows: usize,
    /// Bytes of weights a second.
    pub bytes: f64,
    /// Operations a second.
    pub operations: f64,
    /// Share of the bandwidth of the memory these weights lie in.
    pub of_read: f64,
    /// Share of the peak of its arithmetic.
    pub of_peak: f64,
}

/// Everything measured.
#[derive(Clone, Debug)]
pub struct KernelReport {
    /// The instruction set's name.
    pub kernels: &'static str,
    /// Threads.
    pub threads: usize,
    /// What the CPU can do.
    pub peaks: Peaks,
    /// By type, then by rows.
    pub figures: Vec<KernelFigure>,
}
