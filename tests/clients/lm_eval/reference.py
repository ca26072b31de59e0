"""Makes `reference.json`: the scores of the tasks here by lm-eval's own backend for Transformers, which
reads the weights of the same file into f32. Run by hand:

    reference.py MODEL.gguf

It needs the pins of `../evaluators.txt`, `torch` (2.15.0, `--no-deps` is enough for a CPU),
`transformers` (5.24.0) and `gguf` (0.19.0); three minutes on two cores.
"""

import json
import pathlib
import sys

from scores import scores

model = pathlib.Path(sys.argv[1])
arguments = {"pretrained": str(model.parent), "gguf_file": model.name, "dtype": "float32"}
found = scores("hf", arguments, device="cpu", batch_size=8)
text = json.dumps(found, sort_keys=True).replace("}, ", "},\n") + "\n"
pathlib.Path(__file__).with_name("reference.json").write_text(text)
