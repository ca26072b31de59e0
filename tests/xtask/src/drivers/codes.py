"""What NVIDIA's libraries answer on a machine without their kernel module: one line for each file."""

import ctypes
import sys

cuda, nvml = (ctypes.CDLL(path) for path in sys.argv[1:])
version, count = ctypes.c_int(-1), ctypes.c_uint(0)
assert cuda.cuDriverGetVersion(ctypes.byref(version)) == 0
print(version.value, cuda.cuInit(0), cuda.cuDeviceGetCount(ctypes.byref(count)))
print(nvml.nvmlInit_v2(), nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
