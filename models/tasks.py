"""The benchmark tasks: what a device receives for one inference, and how its answers are judged.

The tasks of MLPerf Tiny (benchmark name, payload and quality target of the closed division as in mlcommons/tiny),
and ``mnist`` for the network that is shipped here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task. ``sample_bytes``: what `db load` receives before one inference. ``metric``: ``top1``,
    ``auc``, or ``detections`` (false positives and negatives; the closed division allows 8 of 50 each).

    ``target``: the least quality of the closed division as a fraction of 1 (top-1 or area under the curve), None
    where there is none. ``window`` and ``stride``, bytes: how a longer file is cut into inputs whose scores are
    averaged (ad01). ``head``: what is printed of an output where the model does not say it itself.
    """

    name: str
    title: str
    sample_bytes: int
    classes: int
    metric: str
    target: float | None
    window: int | None = None
    stride: int | None = None
    head: str | None = None


TASKS = {
    task.name: task
    for task in (
        Task("kws01", "keyword spotting, 12 words", 490, 12, "top1", 0.90),
        Task("ic01", "image classification, CIFAR-10", 3072, 10, "top1", 0.85),
        Task("ad01", "anomaly detection, ToyADMOS sounds", 2560, 2, "auc", 0.85, window=2560, stride=512, head="mse"),
        Task("vww01", "visual wake words, person or not", 27648, 2, "top1", 0.80),
        Task("ic02", "image classification, CIFAR-10, large", 3072, 10, "top1", 0.91),
        Task("sww01", "streaming wake word", 1200, 3, "detections", None),
        Task("mnist", "handwritten digits, MNIST", 784, 10, "top1", None),
    )
}


def find(name: str) -> Task:
    """The task called ``name``. Raises KeyError with the list of tasks."""
    if name not in TASKS:
        raise KeyError(f"task must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]
