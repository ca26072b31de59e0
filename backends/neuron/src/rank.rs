//! A rank of a model on a logical core: programs, tensors, and the thread that alone uses them.
//!
//! What a step takes is written, the program runs, tokens are read; all else stays where it is. Next: `step.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use gimbal_hal::DeviceError;

use crate::bundle::{Bundle, BundleError, Source};
use crate::lower::{Inputs, Parameter};
use crate::runtime::{Class, Model, Runtime, RuntimeError, Tensor, TensorSet, execute};

/// Bytes of a weight that are held by the host at a time.
const PIECE: usize = 8 << 20;

/// How long a thread may take to let go of its tensors.
const ENDING: Duration = Duration::from_secs(5);

/// A step of one program.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Of the manifest's programs.
    pub(crate) program: usize,
    pub(crate) inputs: Arc<Inputs>,
}

/// The other side of a rank's thread.
#[derive(Debug)]
pub(crate) struct Rank {
    /// Closed when this goes: the thread ends then.
    jobs: Option<SyncSender<Job>>,
    answers: Receiver<Result<Vec<i32>, DeviceError>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Rank {
    /// Begins to load a rank's part of a bundle onto the core of its number; the first `answer`, of no
    /// token, tells how that ended. All ranks must have begun before one is waited for.
    pub(crate) fn begin(
        runtime: &Arc<Runtime>,
        bundle: &Bundle,
        rank: u32,
    ) -> std::io::Result<Self> {
        let (jobs, work) = sync_channel::<Job>(1);
        let (tell, answers) = sync_channel(1);
        let (runtime, bundle) = (runtime.clone(), bundle.clone());
        let thread = thread::Builder::new().name(format!("neuron {rank}")).spawn(move || {
            let mut core = match Core::open(&runtime, &bundle, rank) {
                Ok(core) => core,
                Err(error) => return drop(tell.send(Err(error))),
            };
            if tell.send(Ok(Vec::new())).is_err() {
                return;
            }
            for job in work {
                if tell.send(core.run(&job).map_err(|error| failed(&error))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs: Some(jobs), answers, thread: Some(thread) })
    }

    /// Queues a step: one at a time.
    pub(crate) fn queue(&self, job: Job) -> Result<(), DeviceError> {
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job).map_err(|_| ended())
    }

    /// The tokens of the queued step, or none of a rank that is loaded; `None` if it has not come within the time.
    pub(crate) fn answer(&self, timeout: Duration) -> Result<Option<Vec<i32>>, DeviceError> {
        match self.answers.recv_timeout(timeout) {
            Ok(answer) => answer.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return };
        // One that hangs in the vendor's library is left to the end of the process.
        let until = Instant::now() + ENDING;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            drop(thread.join());
        }
    }
}

/// Programs and tensors of one core.
struct Core {
    programs: Vec<Program>,
}

struct Program {
    inputs: TensorSet,
    outputs: TensorSet,
}

impl Core {
    fn open(runtime: &Arc<Runtime>, bundle: &Bundle, rank: u32) -> Result<Self, DeviceError> {
        let (mut programs, mut kept) = (Vec::new(), BTreeMap::new());
        for program in &bundle.manifest.programs {
            let neff = bundle.neff(program).map_err(|error| broken(&error))?;
            let (file, ranks) = (&program.neff.file, bundle.manifest.ranks);
            let model = match ranks {
                1 => Model::load(runtime, file, &neff, rank),
                _ => Model::load_rank(runtime, file, &neff, rank, [rank, ranks]),
            };
            let model = model.map_err(|error| failed(&error))?;
            let made = Program::new(runtime, program, (&model, rank), &mut kept);
            programs.push(made.map_err(|error| failed(&error))?);
        }
        for weights in bundle.manifest.weights.iter().filter(|weights| weights.rank == rank) {
            write(bundle, weights, &kept)?;
        }
        Ok(Self { programs })
    }

    fn run(&mut self, job: &Job) -> Result<Vec<i32>, RuntimeError> {
        let Program { inputs, outputs } = &mut self.programs[job.program];
        for (name, bytes) in named(&job.inputs) {
            // A program that draws no tokens, or has a result of every row, does not take all of them.
            if let Some(tensor) = inputs.tensor(&name) {
                tensor.write(0, &bytes)?;
            }
        }
        // Rows that are no numbers are told by their ids.
        let _ = execute(inputs, outputs)?;
        let Some(ids) = outputs.tensor("ids") else { return Ok(Vec::new()) };
        let mut bytes = vec![0; ids.bytes()];
        ids.read(0, &mut bytes)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|id| i32::from_le_bytes(*id)).collect())
    }
}

impl Program {
    /// Sets of all that a program takes and gives; what has one name is one tensor for all programs of a core, but for
    /// what steps write and read.
    fn new(
        runtime: &Arc<Runtime>,
        program: &crate::bundle::Program,
        (model, core): (&Rc<Model>, u32),
        kept: &mut BTreeMap<String, Rc<Tensor>>,
    ) -> Result<Self, RuntimeError> {
        let room = |name: &str, bytes: Option<u64>| {
            let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
            Tensor::new(runtime, Some(core), bytes, name)
        };
        let mut inputs = TensorSet::inputs(model)?;
        for input in &program.inputs {
            let tensor = match (input.from, kept.get(&input.name)) {
                (Source::Step, _) => room(&input.name, input.bytes())?,
                (_, Some(tensor)) => tensor.clone(),
                (_, None) => {
                    let made = room(&input.name, input.bytes())?;
                    kept.insert(input.name.clone(), made.clone());
                    made
                }
            };
            inputs.insert(&input.name, &tensor)?;
            if input.name == Parameter::RANK {
                tensor.write(0, &core.to_le_bytes())?;
            }
        }
        let mut outputs = TensorSet::outputs(model)?;
        for output in &program.outputs {
            let lies_in = output.alias.as_ref().and_then(|alias| inputs.tensor(alias));
            let tensor = match lies_in {
                Some(tensor) => tensor.clone(),
                None => room(&output.name, output.bytes())?,
            };
            outputs.insert(&output.name, &tensor)?;
        }
        Ok(Self { inputs, outputs })
    }
}

/// What a step writes, by name.
fn named(inputs: &Inputs) -> impl Iterator<Item = (String, Vec<u8>)> {
    let Inputs { tokens, positions, slots, tables, picks, .. } = inputs;
    let integers = [
        ("tokens", tokens),
        ("positions", positions),
        ("slots", slots),
        ("tables", tables),
        ("picks", picks),
    ];
    let integers = integers.map(|(name, numbers)| {
        (name.to_owned(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
    });
    let draws = Parameter::DRAW_NAMES.iter().zip(&inputs.draws).map(|(name, numbers)| {
        ((*name).to_owned(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
    });
    integers.into_iter().chain(draws)
}

/// Writes a file's tensors to the device, piece by piece.
fn write(
    bundle: &Bundle,
    weights: &crate::bundle::Weights,
    kept: &BTreeMap<String, Rc<Tensor>>,
) -> Result<(), DeviceError> {
    let path = bundle.path(weights);
    let read =
        |error: std::io::Error| DeviceError::Model { why: format!("{}: {error}", path.display()) };
    let mut file = File::open(&path).map_err(read)?;
    let mut piece = vec![0; PIECE];
    for (name, range) in bundle.places(weights).map_err(|error| broken(&error))? {
        // Of no program of this bundle.
        let Some(tensor) = kept.get(&name) else { continue };
        if range.end - range.start != tensor.bytes() as u64 {
            let why = format!("tensor {name:?} of {} has {range:?}", path.display());
            return Err(DeviceError::Model { why });
        }
        file.seek(SeekFrom::Start(range.start)).map_err(read)?;
        for begin in (0..tensor.bytes()).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(tensor.bytes() - begin)];
            file.read_exact(piece).map_err(read)?;
            tensor.write(begin, piece).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

/// What a caller does about what the runtime said.
pub(crate) fn failed(error: &RuntimeError) -> DeviceError {
    let why = error.to_string();
    match error.class() {
        Class::Deployment => DeviceError::Library { library: "libnrt".to_owned(), why },
        // How much there is does not stand in an answer.
        _ => DeviceError::Lost { why },
    }
}

fn broken(error: &BundleError) -> DeviceError {
    DeviceError::Model { why: error.to_string() }
}

fn ended() -> DeviceError {
    DeviceError::Lost { why: "a rank's thread has ended".to_owned() }
}
