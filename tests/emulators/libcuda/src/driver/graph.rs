//! Graphs: made by a capture, instantiated, launched into a stream.
//!
//! Next: `symbols`.

use super::border::Out;
use super::code::{Code, INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED};
use super::state::{Driver, call, tell};
use super::work::{Exec, Op};

/// Flags that change nothing where a graph neither allocates nor has priorities: free on launch, use of
/// nodes' priorities.
const FLAGS_IDLE: u64 = 1 | 8;

fn instantiate(driver: &mut Driver, graph: usize, flags: u64) -> Result<usize, Code> {
    if flags & !FLAGS_IDLE != 0 {
        tell(&format!("flags {flags:#x} of a graph are not known here"));
        return Err(INVALID_VALUE);
    }
    let nodes = driver.graphs.get(&graph).ok_or(INVALID_VALUE)?.clone();
    let handle = driver.handle();
    driver.execs.insert(handle, Exec { nodes, last: None });
    Ok(handle)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphInstantiateWithFlags(
    exec: Out<usize>,
    graph: usize,
    flags: u64,
) -> Code {
    call("cuGraphInstantiateWithFlags", |driver| {
        driver.current()?;
        exec.put(instantiate(driver, graph, flags)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphUpload(exec: usize, stream: usize) -> Code {
    call("cuGraphUpload", |driver| {
        driver.stream(stream)?;
        driver.execs.contains_key(&exec).then_some(()).ok_or(INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> Code {
    call("cuGraphLaunch", |driver| {
        let key = driver.stream(stream)?;
        let graph = driver.execs.get(&exec).ok_or(INVALID_VALUE)?;
        // Launches of one executable graph follow each other.
        let (nodes, before) = (graph.nodes.clone(), graph.last);
        let mark = driver.enqueue(key, Op::Graph(nodes), before.into_iter().collect())?;
        if let Some(exec) = driver.execs.get_mut(&exec) {
            exec.last = mark.or(exec.last);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphGetNodes(
    graph: usize,
    nodes: Out<usize>,
    count: Out<usize>,
) -> Code {
    call("cuGraphGetNodes", |driver| {
        if !nodes.is_null() {
            tell("nodes of a graph have no handles here; only their number is told");
            return Err(NOT_SUPPORTED);
        }
        count.put(driver.graphs.get(&graph).ok_or(INVALID_HANDLE)?.len())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphDestroy(graph: usize) -> Code {
    call("cuGraphDestroy", |driver| driver.graphs.remove(&graph).map(drop).ok_or(INVALID_VALUE))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphExecDestroy(exec: usize) -> Code {
    call("cuGraphExecDestroy", |driver| driver.execs.remove(&exec).map(drop).ok_or(INVALID_VALUE))
}
