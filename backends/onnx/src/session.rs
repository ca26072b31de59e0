//! ONNX Runtime: the library, loaded once, and a session over our operators.
//!
//! The session owns the order of nodes, their activations and the profiler; the operators own
//! weights, KV and threads. Nothing outside this file names `ort`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gimbal_batch::TokenId;
use gimbal_cpu::Executor;
use gimbal_hal::DeviceError;
use gimbal_model::fuse::Fused;
use ort::environment::Environment;
use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
    OperatorOutput,
};
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Tensor, TensorElementType};

use crate::elf;
use crate::proto::{DOMAIN, write};

/// The library's file name, looked for in the loader's path.
pub(crate) const LIBRARY: &str = "libonnxruntime.so";

/// Threads of a session of our operators: the caller's. They have their own, and beside those any other
/// only takes a CPU away. A session of other nodes decides otherwise.
const THREADS: usize = 1;

/// A session whose nodes are the executor's.
pub(crate) struct Session {
    session: ort::session::Session,
    executor: Arc<Mutex<Executor>>,
}

impl Session {
    /// Loads the library if that has not happened and makes the session.
    ///
    /// # Errors
    /// The library is missing, too old, or refuses the model.
    pub(crate) fn open(
        library: Option<&Path>,
        fused: &[Fused],
        executor: Executor,
    ) -> Result<Self, DeviceError> {
        let environment = environment(library)?;
        let executor = Arc::new(Mutex::new(executor));
        let refused = |e: ort::Error| DeviceError::Model { why: format!("ONNX Runtime: {e}") };
        let session = build(environment, fused, &executor).map_err(refused)?;
        Ok(Self { session, executor })
    }

    /// The executor, between runs.
    pub(crate) fn executor(&self) -> MutexGuard<'_, Executor> {
        lock(&self.executor)
    }

    /// Runs the step the executor has begun; its logits stay with the executor: as an output, ONNX
    /// Runtime would allocate them anew at each step.
    ///
    /// # Errors
    /// What a node or ONNX Runtime said.
    pub(crate) fn run(&mut self, ids: &[TokenId]) -> Result<(), DeviceError> {
        let lost = |e: ort::Error| DeviceError::Lost { why: format!("ONNX Runtime: {e}") };
        let ids: Vec<i32> = ids.iter().map(|id| id.get().cast_signed()).collect();
        let input = Tensor::<i32>::from_array(([ids.len()], ids)).map_err(lost)?;
        self.session.run(ort::inputs![&input]).map_err(lost)?;
        Ok(())
    }
}

fn lock(executor: &Mutex<Executor>) -> MutexGuard<'_, Executor> {
    // A poisoned executor only means that a node panicked; the lane is then lost and reopened.
    executor.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build(
    environment: &Environment,
    fused: &[Fused],
    executor: &Arc<Mutex<Executor>>,
) -> ort::Result<ort::session::Session> {
    let mut domain = OperatorDomain::new(DOMAIN)?;
    for (name, input, compute) in [
        ("Embed", TensorElementType::Int32, embed as Compute),
        ("Attention", TensorElementType::Float32, block),
        ("FeedForward", TensorElementType::Float32, block),
        ("Head", TensorElementType::Float32, head),
    ] {
        domain = domain.add(Node { name, input, compute, executor: executor.clone() })?;
    }
    let mut builder = ort::session::Session::builder(environment)?
        .with_operators(domain)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_memory_pattern(false)?
        .with_intra_threads(THREADS)?
        .with_inter_threads(THREADS)?
        .with_log_level(ort::logging::LogLevel::Error)?;
    builder.commit_from_memory(&write(fused))
}

/// Computes one node.
type Compute = fn(&mut Executor, usize, &ComputeContext) -> ort::Result<()>;

/// An operator of ours.
struct Node {
    name: &'static str,
    input: TensorElementType,
    compute: Compute,
    executor: Arc<Mutex<Executor>>,
}

impl Operator for Node {
    type Kernel<'a> = BoxedKernel<'a>;
    const INPLACES: &[(u32, u32)] = &[(0, 0)];

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(self.input)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let index = context.get::<i64>("index").and_then(|i| usize::try_from(i).ok());
        let index = index.ok_or_else(|| ort::Error::new("a node without index"))?;
        let (compute, executor) = (self.compute, self.executor.clone());
        Ok(Box::new(move |context: &ComputeContext| {
            // A panic must not cross the C frames of ONNX Runtime.
            let run = AssertUnwindSafe(|| compute(&mut lock(&executor), index, context));
            catch_unwind(run).unwrap_or_else(|_| Err(ort::Error::new("a node panicked")))
        }))
    }
}

fn embed(executor: &mut Executor, index: usize, context: &ComputeContext) -> ort::Result<()> {
    let ((rows, _), (hidden, _)) = (executor.shape(), executor.columns());
    let mut output = output(context, rows, hidden)?;
    executor.embed(index, output.try_extract_tensor_mut::<f32>()?.1);
    Ok(())
}

fn block(executor: &mut Executor, index: usize, context: &ComputeContext) -> ort::Result<()> {
    let ((rows, _), (hidden, _)) = (executor.shape(), executor.columns());
    let input = input(context)?;
    let (_, input) = input.try_extract_tensor::<f32>()?;
    let mut output = output(context, rows, hidden)?;
    let (_, output) = output.try_extract_tensor_mut::<f32>()?;
    if !std::ptr::eq(input.as_ptr(), output.as_ptr()) {
        output.copy_from_slice(input);
    }
    executor.block(index, output);
    Ok(())
}

fn head(executor: &mut Executor, index: usize, context: &ComputeContext) -> ort::Result<()> {
    let input = input(context)?;
    executor.head(index, input.try_extract_tensor::<f32>()?.1);
    // A node has an output; nobody reads this one.
    output(context, 0, 1).map(drop)
}

fn input(context: &ComputeContext) -> ort::Result<ort::value::ValueRef<'_>> {
    context.input(0)?.ok_or_else(|| ort::Error::new("a node without input"))
}

fn output(
    context: &ComputeContext,
    rows: usize,
    cols: usize,
) -> ort::Result<ort::value::ValueRefMut<'_>> {
    context.output(0, [rows, cols])?.ok_or_else(|| ort::Error::new("a node without output"))
}

/// Loads the library; a later call gives the first one's answer.
pub(crate) fn load(library: Option<&Path>) -> Result<(), DeviceError> {
    environment(library).map(|_| ())
}

/// The process's environment. The library is loaded once; a later path is not looked at.
fn environment(library: Option<&Path>) -> Result<&'static Environment, DeviceError> {
    static ENVIRONMENT: OnceLock<Result<Environment, (String, String)>> = OnceLock::new();
    let loaded = ENVIRONMENT.get_or_init(|| {
        // Without a path the loader searches.
        let path = library.unwrap_or(Path::new(LIBRARY));
        start(path).map_err(|why| (path.display().to_string(), why))
    });
    loaded.as_ref().map_err(|(library, why)| DeviceError::Library {
        library: library.clone(),
        why: why.clone(),
    })
}

/// A path that `ort` can take: it looks for a relative one beside the binary first, and panics where
/// the system does not tell where that is (nothing is mounted at `/proc`).
fn loadable(path: &Path) -> Result<PathBuf, String> {
    let is_name = path.components().count() == 1 && path.is_relative();
    if !is_name {
        return std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
    }
    match std::env::current_exe() {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => Err(format!(
            "{error}; without it a library is only found by its path: set --onnxruntime /PATH"
        )),
    }
}

fn start(path: &Path) -> Result<Environment, String> {
    let remedy = "set --onnxruntime PATH to a libonnxruntime.so of version 1.31 or newer";
    let path = loadable(path)?;
    // What is only a name the loader finds where it will, and passes over what is for others.
    if path.is_absolute()
        && let Some(why) = elf::other_processor(&path)
    {
        return Err(format!("{why}; {remedy}"));
    }
    let builder = ort::init_from(path).map_err(|e| format!("{e}; {remedy}"))?;
    builder.with_telemetry(false).build().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sentence with both processors, and what to do; the loader is not asked.
    #[test]
    fn a_library_for_another_processor_is_named() {
        let (number, name) = match std::env::consts::ARCH {
            "aarch64" => ([62, 0], "x86_64"),
            _ => ([183, 0], "aarch64"),
        };
        let library = elf::tests::library("other", 1, number);
        let Err(why) = start(&library) else { panic!("another processor's") };
        let expect =
            format!("it is for {name}, and this Gimbal is for {}; set", std::env::consts::ARCH);
        assert!(why.starts_with(&expect), "{why}");
        std::fs::remove_file(library).expect("ours");
    }
}
