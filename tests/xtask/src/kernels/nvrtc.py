"""Compiles a folder of CUDA sources, all.cu with what it includes, to PTX on standard output.

    nvrtc.py LIBNVRTC FOLDER CAPABILITY

Needs nothing but the library: no toolkit, no headers, no device.
"""

import ctypes
import pathlib
import sys


def main(library, folder, capability):
    nvrtc = ctypes.CDLL(library)
    sources = {path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())}
    main_source = sources.pop("all.cu")
    texts = ctypes.c_char_p * len(sources)
    program = ctypes.c_void_p()
    check(nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), main_source, b"all.cu", len(sources), texts(*sources.values()),
        texts(*(name.encode() for name in sources)),
    ), "the sources")
    options = [f"--gpu-architecture=compute_{capability}".encode(), b"--std=c++17"]
    outcome = nvrtc.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*options)
    )
    log = text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
    sys.stderr.write(log.decode())
    check(outcome, "the compiler")
    sys.stdout.buffer.write(text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program))


def text(size_of, get, program):
    size = ctypes.c_size_t()
    check(size_of(program, ctypes.byref(size)), "a size")
    buffer = ctypes.create_string_buffer(size.value)
    check(get(program, buffer), "a text")
    return buffer.value


def check(outcome, what):
    if outcome:
        sys.exit(f"NVRTC refuses {what}: {outcome}")


if __name__ == "__main__":
    main(*sys.argv[1:])
