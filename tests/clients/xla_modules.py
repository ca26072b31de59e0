"""HLO modules by XLA on this processor: what `modules` of tests/emulators/hlo wrote, computed again.

`xla_modules.py FOLDER` prints one JSON object for each case: the largest differences from what the interpreter
and the oracle computed. `xla_modules.py FOLDER STEPS` times the first case: milliseconds of each step.
"""

import json
import os
import pathlib
import sys
import time

# As many as a module has ranks, at most; it is read when jax is imported.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import ml_dtypes
import numpy as np
from jaxlib import _jax, xla_client

DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "s32": np.int32, "u32": np.uint32,
          "pred": np.bool_}


class Case:
    def __init__(self, folder, case):
        self.folder, self.case = folder, case
        self.values = np.memmap(folder / "values.bin", mode="r")
        computation = xla_client.XlaComputation((folder / case["module"]).read_bytes())
        module = _jax.mlir.xla_computation_to_mlir_module(computation)
        count = len(case["ranks"])
        self.devices = jax.devices("cpu")[:count]
        options = xla_client.CompileOptions()
        options.num_replicas = count
        places = np.arange(count, dtype=np.int32).reshape(count, 1)
        options.device_assignment = xla_client.DeviceAssignment.create(places)
        devices = xla_client.DeviceList(tuple(self.devices))
        client = self.devices[0].client
        self.program = client.compile_and_load(module, devices, options)
        mesh = jax.sharding.Mesh(np.array(self.devices), ("rank",))
        self.sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rank"))

    def array(self, value):
        dtype, count = np.dtype(DTYPES[value["dtype"]]), int(np.prod(value["dims"], dtype=np.int64))
        raw = self.values[value["at"]:value["at"] + count * dtype.itemsize]
        return np.frombuffer(raw.tobytes(), dtype).reshape(value["dims"])

    def arguments(self):
        """Of each parameter: what each rank is given, as one array."""
        ranks = zip(*self.case["ranks"], strict=True)
        place = lambda value, device: jax.device_put(self.array(value), device)
        return [self.joined([place(*one) for one in zip(values, self.devices)]) for values in ranks]

    def joined(self, ranks):
        """Values of ranks below one another, each where it lies."""
        first, *rest = ranks[0].shape
        shape = (first * len(ranks), *rest)
        return jax.make_array_from_single_device_arrays(shape, self.sharding, ranks)

    def execute(self, arguments):
        """Of each result: one for each rank."""
        return self.program.execute_sharded(arguments).disassemble_into_single_device_arrays()

    def results(self):
        # Results that lie in parameters take those with them: all are given anew.
        found = self.execute(self.arguments())
        for ranks, name in zip(found, self.case["results"], strict=True):
            if name in ("ids", "logits"):
                assert all((np.asarray(one) == np.asarray(ranks[0])).all() for one in ranks), name
        return {name: np.asarray(ranks[0]) for name, ranks in zip(self.case["results"], found)}


def furthest(found, expect):
    found, expect = np.asarray(found, np.float64), np.asarray(expect, np.float64)
    assert found.shape == expect.shape, (found.shape, expect.shape)
    return float(np.abs(found - expect).max(initial=0.0))


def compare(case):
    """Largest differences; of logits and of keys and values."""
    told, found = case.case, case.results()
    count = len(told["ids"])
    logits = found["logits"][:count]
    from_cache = 0.0
    for value in told["caches"]:
        ours, theirs = case.array(value), found[value["name"]]
        from_cache = max(from_cache, furthest(theirs[:told["rows"]], ours[:told["rows"]]))
    # A token is another one only where two are as probable, up to the difference of executors.
    chosen = zip(found["ids"][:count], told["ids"], told["logits"])
    ids = max(abs(row[xla] - row[ours]) for xla, ours, row in chosen)
    return {
        "name": told["name"],
        "largest": float(np.abs(told["logits"]).max()),
        "interpreter": furthest(logits, told["logits"]),
        "oracle": furthest(logits, told["oracle"]) if told["oracle"] else None,
        "interpreter_oracle": furthest(told["logits"], told["oracle"]) if told["oracle"] else None,
        "cache": from_cache,
        "ids": float(ids),
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    if len(sys.argv) == 2:
        for case in cases:
            print(json.dumps(compare(Case(folder, case))), flush=True)
        return
    case = Case(folder, cases[0])
    arguments, times = case.arguments(), []
    # Results that lie in parameters are the next step's.
    number = {value["name"]: i for i, value in enumerate(case.case["ranks"][0])}
    for _ in range(int(sys.argv[2]) + 1):
        started = time.perf_counter()
        results = case.execute(arguments)
        for ranks in results:
            ranks[0].block_until_ready()
        times.append((time.perf_counter() - started) * 1e3)
        for name, ranks in zip(case.case["results"], results, strict=True):
            if name in number:
                arguments[number[name]] = case.joined(ranks)
    print(json.dumps(times[1:]))


main()
