"""One benchmark from beginning to end: the right device, the right model, a measurement, results on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from accel.graph.head import Head
from accel.manifest import Manifest
from bench import accuracy, baud, performance
from bench.client import Client
from bench.device import check_device
from bench.errors import BenchError, Interrupted
from bench.log import Log
from bench.reference import Reference, load_reference
from bench.results import RESULTS, BitExact, Latency, Results, Run, step_facts
from bench.samples import Dataset, Sample, payload_bytes
from bench.terminal import microseconds, print_results, progress_bar

MODES = ("performance", "accuracy", "energy")
ENGINES = ("stream", "cfu", "cpu", "host")  # host: the firmware as a process, which looks answers up
SIMULATED_TIME_SCALE = (
    4.0  # time limits are for replies of a few thousand cycles, of which a simulator makes 3 million a second
)

NO_ENERGY = (
    "MODE=energy needs what Headrace does not drive: an IO manager between host and board, a power monitor (Joulescope "
    "JS110 or JS220, LPM01A) in the board's supply and on its timestamp pin. The device is ready for it: after the "
    "commands `baud 9600%` and `mode energy%` it does its part. "
    "Use MODE=performance or MODE=accuracy; MLCommons' own runner measures energy with the same device protocol"
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The device to benchmark.

    ``port``: whatever pyserial opens. ``simulated``: the board is a simulator, so that windows are short and time
    limits long. ``clock_hz``: what it was built for, compared with what it says; None takes its word.
    """

    board: str
    port: str
    engine: str = "stream"
    simulated: bool = False
    baud: int = 115200
    clock_hz: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise BenchError(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")


def bench(
    *,
    target: Target,
    mode: str,
    model_dir: Path,
    out_dir: Path,
    dataset: Dataset | None = None,
    console: Console | None = None,
    reference: Reference | None = None,
    window: performance.WindowLength | None = None,
) -> Results:
    """Benchmark the model compiled into ``model_dir`` on ``target``; files go to ``out_dir``.

    ``reference`` replaces the graph in ``model_dir``, ``window`` the usual length of a performance window. Raises
    `BenchError` (what was measured stays on the disk) and, for Ctrl-C, `Interrupted`.
    """
    if mode not in MODES:
        raise BenchError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if mode == "energy":
        raise BenchError(NO_ENERGY)
    manifest = Manifest.load(model_dir)
    samples = check_dataset(dataset, manifest, mode)
    reference = reference or load_reference(model_dir, manifest)
    console = console or Console()
    out_dir.mkdir(parents=True, exist_ok=True)
    scale = SIMULATED_TIME_SCALE if target.simulated else 1.0
    with Log(out_dir) as log, Client(target.port, baud=target.baud, time_scale=scale, log=log.line) as client:
        client.attempt("the device does not answer", lambda: baud.meet(client))
        advice = f"Build and load it: make BOARD={target.board} MODEL={manifest.name} ENGINE={target.engine} build load"
        clock = check_device(client, manifest, engine=target.engine, clock_hz=target.clock_hz, advice=advice)
        Run(manifest.name, manifest.hash, target.board, target.engine, target.simulated, clock).claim(out_dir)
        session = Session(target, manifest, out_dir, console, log, client, clock, reference)
        # Read before measuring: a file that is broken must not cost what was measured.
        older = Results.load(out_dir) if (out_dir / RESULTS).exists() else None
        facts = step_facts(manifest, out_dir)
        with baud.fast_line(client, payload_bytes(manifest)):
            if mode == "performance":
                results = session.run_performance(samples, window)
            else:
                assert dataset is not None
                results = session.run_accuracy(dataset)
    results = replace(results, **facts)
    if older is not None:
        results = results.merged(older)
    path = results.save(out_dir)
    print_results(console, results, manifest.task)
    console.print(f"[dim]{path}[/dim]")
    return results


def check_dataset(dataset: Dataset | None, manifest: Manifest, mode: str) -> tuple[Sample, ...]:
    """The samples of a run, once they fit the model and the mode. Raises `BenchError`."""
    if dataset is None:
        raise BenchError(f"{mode} mode of {manifest.name} needs samples; give a folder of samples or random inputs")
    if mode == "performance" and len(dataset.samples) < performance.INPUTS:
        raise BenchError(
            f"performance mode needs {performance.INPUTS} samples; {dataset.name} has {len(dataset.samples)}"
        )
    wanted = payload_bytes(manifest)
    for sample in dataset.samples:
        sizes = {len(data) for data in sample.inputs} or {len(sample.data)}
        if sizes != {wanted}:
            raise BenchError(
                f"{dataset.name}: {sample.file} gives inputs of {min(sizes)} bytes, but {manifest.name} takes "
                f"{wanted}; the samples belong to another model"
            )
    outputs = printed_results(manifest)
    if mode == "accuracy" and dataset.labelled and outputs not in (1, dataset.classes):
        raise BenchError(f"{dataset.name} has {dataset.classes} classes, but {manifest.name} has {outputs} outputs")
    return dataset.samples


def printed_results(manifest: Manifest) -> int:
    """How many numbers the device prints for an inference: one a class, or one score."""
    return Head.of(manifest).classes


def some_of(files: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(files[:5]) + (", …" if len(files) > 5 else "")


@dataclass
class Session:
    """What both modes share while they run."""

    target: Target
    manifest: Manifest
    out_dir: Path
    console: Console
    log: Log
    client: Client
    clock_hz: int
    reference: Reference

    def run_performance(self, samples: tuple[Sample, ...], window: performance.WindowLength | None) -> Results:
        simulated = self.target.simulated
        length = window or (performance.SIMULATED_WINDOW if simulated else performance.BOARD_WINDOW)
        inputs = [sample.inputs[0] for sample in samples[: performance.INPUTS]]
        with progress_bar(self.console) as bar:
            task = bar.add_task("performance", total=len(inputs), note="choosing N")

            def on_window(number: int, done: performance.Window) -> None:
                self.log.window(number, done.inferences, done.elapsed_us / 1e6)
                bar.update(task, advance=1, note=microseconds(done.latency_us))

            try:
                found = performance.measure(
                    self.client, inputs, length=length, expected=self.reference(inputs), on_window=on_window
                )
            except KeyboardInterrupt:
                text = f"interrupted; earlier results in {self.out_dir} are as they were. Run the same command again"
                raise Interrupted(text) from None
        throughput = 1e6 / found.latency_us
        self.log.performance(throughput)
        least, clock = microseconds(length.least), f"{self.clock_hz / 1e6:g} MHz"
        if simulated:
            note = f"Cycles of the simulated SoC at {clock}, in windows of at least {least} of simulated time."
        else:
            note = f"By the board's clock of {clock}, in windows of at least {least}."
        windows = [done.latency_us for done in found.windows]
        return replace(
            self.results("performance", len(inputs), BitExact(len(inputs), found.exact.count(False))),
            latency_us=Latency(found.latency_us, windows, [done.inferences for done in found.windows], note),
            throughput_inf_per_s=throughput,
            cycles=found.cycles,
        )

    def run_accuracy(self, dataset: Dataset) -> Results:
        journal = accuracy.open_journal(self.out_dir, dataset, checked=True)
        total = len(dataset.samples)
        right = sum(row.right for row in journal.rows)
        if journal.rows:
            self.console.print(f"going on after {len(journal.rows)} of {total} samples")
        with progress_bar(self.console) as bar:
            task = bar.add_task("accuracy", total=total, completed=len(journal.rows), note="")

            def on_sample(row: accuracy.Row) -> None:
                nonlocal right
                right += row.right
                counted = dataset.labelled and len(row.scores) > 1
                note = f"Top-1 {100 * right / len(journal.rows):.1f} %" if counted else ""
                wrong = f"[red]{len(journal.mismatches)} not bit exact" if journal.mismatches else ""
                bar.update(task, advance=1, note=f"{note} {wrong}")

            try:
                found = accuracy.measure(
                    self.client,
                    dataset,
                    journal,
                    outputs=printed_results(self.manifest),
                    reference=self.reference,
                    on_sample=on_sample,
                )
            except KeyboardInterrupt:
                raise Interrupted(f"interrupted; {self.kept(journal, total)}") from None
            except BenchError as error:
                raise BenchError(f"{error} {self.kept(journal, total)}") from error
        self.log.accuracy(found.top1, found.auc)
        if found.mismatches:
            some = some_of(found.mismatches)
            self.console.print(f"[red]{len(found.mismatches)} samples differ from the exact reference: {some}")
        other = accuracy.unlike_golden(journal.rows, dataset)
        if other:
            self.console.print(f"[red]{len(other)} samples differ from the golden outputs: {some_of(other)}")
        return replace(
            self.results("accuracy", found.samples, BitExact(found.checked, len(found.mismatches))),
            accuracy=found.top1,
            auc=found.auc,
            golden=None if other is None else BitExact(found.samples, len(other)),
        )

    def kept(self, journal: accuracy.Journal, total: int) -> str:
        path = self.out_dir / accuracy.SAMPLES
        return f"{len(journal.rows)} of {total} samples are kept in {path}; run the same command again to go on."

    def results(self, mode: str, samples: int, exact: BitExact) -> Results:
        return Results(
            model=self.manifest.name,
            board=self.target.board,
            engine=self.target.engine,
            mode=mode,
            samples=samples,
            clock_hz=self.clock_hz,
            bit_exact=exact,
        )
