"""Accuracy mode: every sample once; each outcome is written before the next sample starts.

``samples.csv`` has a line a sample: file, label, predicted (the class, or the score of an anomaly detector) and the
printed scores separated by spaces. Beside it ``samples.json`` says which data set they belong to and lists the
samples whose integers differed from the exact reference. A run that was interrupted goes on after the last whole
line.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.client import Client
from bench.device import run_input
from bench.errors import BenchError
from bench.reference import Expected, Reference
from bench.results import read_json, set_aside, write_json, write_text
from bench.samples import NO_LABEL, Dataset, Sample

SAMPLES = "samples.csv"
BINDING = "samples.json"
HEADER = ("file", "label", "predicted", "scores")
REFERENCE_BATCH = 64  # inputs the reference computes at once


@dataclass(frozen=True)
class Row:
    """One line of samples.csv.

    ``scores`` are decimals as they were printed (averaged where a file has many windows).
    """

    file: str
    label: int
    predicted: str
    scores: tuple[str, ...]

    @property
    def right(self) -> bool:
        return self.predicted == str(self.label)

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(map(float, self.scores))


@dataclass
class Journal:
    """samples.csv and its binding while samples come in. Make one with `open_journal`."""

    folder: Path
    binding: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row, exact: bool | None) -> None:
        """Put a sample on the disk.

        A mismatch is written first: a crash in between repeats the sample, never hides it.
        """
        if exact is False and row.file not in self.mismatches:
            self.mismatches.append(row.file)
            write_json(self.folder / BINDING, self.binding)
        with (self.folder / SAMPLES).open("a", encoding="utf-8", newline="") as file:
            file.write(line(row))
            file.flush()
        self.rows.append(row)

    @property
    def mismatches(self) -> list[str]:
        """Files whose integers differed from the reference."""
        found: list[str] = self.binding["mismatches"]
        return found


def line(row: Row) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([row.file, row.label, row.predicted, " ".join(row.scores)])
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """The whole lines of samples.csv;

    a last line without its end is left out. Raises `BenchError` on any other fault.
    """
    whole, end, _ = path.read_text(encoding="utf-8").rpartition("\n")
    lines = csv.reader(io.StringIO(whole + end))
    rows: list[Row] = []
    for number, cells in enumerate(lines, 1):
        if number == 1 and tuple(cells) == HEADER:
            continue
        try:
            file, label, predicted, scores = cells
            row = Row(file, int(label), predicted, tuple(scores.split(" ")))
            _ = row.values
        except ValueError:
            raise BenchError(f"{path}:{number}: not a sample ({','.join(cells)!r}); move the file away") from None
        if number == 1:
            raise BenchError(f"{path}:1: the header {','.join(HEADER)} is missing; move the file away")
        rows.append(row)
    return rows


def open_journal(folder: Path, dataset: Dataset, *, checked: bool) -> Journal:
    """Go on with the samples in ``folder`` where they are of this data set, else set them aside and start anew."""
    path = folder / SAMPLES
    binding: dict[str, Any] = {"dataset": dataset.name, "digest": dataset.digest, "checked": checked, "mismatches": []}
    if path.exists() and (folder / BINDING).exists():
        old = read_json(folder / BINDING)
        if all(old.get(key) == binding[key] for key in ("digest", "checked")):
            journal = Journal(folder, binding, read_rows(path))
            known = [sample.file for sample in dataset.samples]
            if [row.file for row in journal.rows] == known[: len(journal.rows)]:
                done = set(known[: len(journal.rows)])
                binding["mismatches"] = [file for file in old.get("mismatches", []) if file in done]
                write_text(path, ",".join(HEADER) + "\n" + "".join(map(line, journal.rows)))
                write_json(folder / BINDING, binding)
                return journal
    for old_file in (path, folder / BINDING):
        set_aside(old_file, "old")
    write_json(folder / BINDING, binding)
    write_text(path, ",".join(HEADER) + "\n")
    return Journal(folder, binding)


@dataclass(frozen=True)
class Accuracy:
    """What accuracy mode found.

    ``top1`` is a fraction, None for one-score tasks; ``auc`` is None where a class is missing; both are without labels.
    """

    samples: int
    top1: float | None
    auc: float | None
    checked: int
    mismatches: tuple[str, ...]


def measure(
    client: Client,
    dataset: Dataset,
    journal: Journal,
    *,
    outputs: int,
    reference: Reference | None = None,
    on_sample: Callable[[Row], None] = lambda row: None,
) -> Accuracy:
    """Run every sample of ``dataset`` that ``journal`` has not got yet.

    ``outputs``: how many results the device prints. ``on_sample`` is called with each row that was added. Raises
    `BenchError`; what the journal has stays.
    """
    todo = dataset.samples[len(journal.rows) :]
    for sample, expected in zip(todo, references(todo, reference), strict=True):
        row, exact = run_sample(client, sample, expected, outputs)
        journal.add(row, exact)
        on_sample(row)
    return summarise(journal, dataset.classes, checked=reference is not None)


def references(samples: Sequence[Sample], reference: Reference | None) -> Iterator[list[Expected | None]]:
    """For each sample what its inputs must give, computed some inputs at a time."""
    for sample in samples if reference is None else ():
        yield [None] * len(sample.inputs)
    if reference is None:
        return
    batch: list[Sample] = []
    waiting = 0
    for i, sample in enumerate(samples):
        batch.append(sample)
        waiting += len(sample.inputs)
        if waiting >= REFERENCE_BATCH or i == len(samples) - 1:
            answers = iter(reference([data for one in batch for data in one.inputs]))
            for one in batch:
                yield [next(answers) for _ in one.inputs]
            batch, waiting = [], 0


def run_sample(
    client: Client, sample: Sample, expected: Sequence[Expected | None], outputs: int
) -> tuple[Row, bool | None]:
    """One file through the device: its row, and whether every integer was right."""
    outcomes = []
    for data, wanted in zip(sample.inputs, expected, strict=True):
        outcome = run_input(client, data, expected=wanted)
        if len(outcome.inference.results) != outputs:
            got = len(outcome.inference.results)
            raise BenchError(f"{client.port}: {sample.file}: the device printed {got} results instead of {outputs}")
        outcomes.append(outcome)
    exact = None if None in expected else all(outcome.exact for outcome in outcomes)
    scores = outcomes[0].inference.results
    if len(outcomes) > 1:
        scores = tuple(
            f"{statistics.fmean(column):.6f}" for column in zip(*(o.inference.values for o in outcomes), strict=True)
        )
    predicted = scores[0] if outputs == 1 else str(int(np.argmax([float(score) for score in scores])))
    return Row(sample.file, sample.label, predicted, scores), exact


def summarise(journal: Journal, classes: int, *, checked: bool) -> Accuracy:
    """Top-1 and AUC over the rows of a journal."""
    rows = journal.rows
    labels = np.array([row.label for row in rows])
    scores = np.array([row.values for row in rows])
    if NO_LABEL in labels:
        top1, auc = None, None
    elif scores.shape[1] == 1:
        top1, auc = None, area_under_curve(scores[:, 0], labels == 1)
    else:
        top1 = sum(row.right for row in rows) / len(rows)
        totals = scores.sum(axis=1, keepdims=True)
        shares = np.divide(scores, totals, out=np.zeros_like(scores), where=totals != 0)
        areas = [area_under_curve(shares[:, c], labels == c) for c in range(classes)]
        present = [area for area in areas if area is not None]
        auc = statistics.fmean(present) if present else None
    return Accuracy(len(rows), top1, auc, len(rows) if checked else 0, tuple(journal.mismatches))


def unlike_golden(rows: Sequence[Row], dataset: Dataset) -> list[str] | None:
    """The files of which other numbers were printed than the golden outputs say; None where there are no such."""
    if dataset.golden is None:
        return None
    return [row.file for row, wanted in zip(rows, dataset.golden, strict=True) if row.scores != wanted]


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, equals counting half.

    That is the Mann-Whitney statistic over its largest value, computed from ranks. ``scores`` and ``positive`` (bool)
    have shape (samples,). None where all samples are of one kind.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))
