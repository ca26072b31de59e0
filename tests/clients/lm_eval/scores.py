"""The tasks of this folder by any backend of lm-eval."""

import os
import pathlib
import tempfile

FOLDER = pathlib.Path(__file__).parent
CHOICES = ("sums", "kinds", "endings")
METRICS = ("acc", "exact_match", "word_perplexity", "bits_per_byte")


def scores(backend, arguments, tasks=(*CHOICES, "capitals", "texts"), **more):
    """Task to metric to value; and of multiple choices, `chosen`: each question's choice, and by how
    much its log-likelihood is above the next."""
    with tempfile.TemporaryDirectory() as cache:
        # Read when the package is imported; nothing is asked of a hub.
        os.environ.update(HF_HOME=cache, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        os.chdir(FOLDER)
        import lm_eval
        from lm_eval.tasks import TaskManager

        found = lm_eval.simple_evaluate(
            backend,
            model_args=arguments,
            tasks=[f"gimbal_{task}" for task in tasks],
            task_manager=TaskManager(include_path=str(FOLDER), include_defaults=False),
            bootstrap_iters=0,
            **more,
        )
    told = {}
    for task in tasks:
        results, samples = (found[part][f"gimbal_{task}"] for part in ("results", "samples"))
        values = {metric: results.get(f"{metric},none") for metric in METRICS}
        told[task] = {metric: float(value) for metric, value in values.items() if value is not None}
        if task in CHOICES:
            samples = sorted(samples, key=lambda sample: sample["doc_id"])
            told[task]["chosen"] = [chosen(sample["filtered_resps"]) for sample in samples]
    return told


def chosen(answers):
    """The likeliest, and its distance to the next."""
    order = sorted(range(len(answers)), key=lambda index: -answers[index][0])
    return [order[0], round(answers[order[0]][0] - answers[order[1]][0], 3)]
