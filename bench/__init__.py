"""The host side of the serial protocol, results and reports.

What other folders use (everything else is detail):

    Target(*, board, port, engine="stream", simulated=False, baud=115200, clock_hz=None)
        The device: `port` is whatever pyserial opens (``/dev/ttyUSB1``, a pty, ``socket://127.0.0.1:5000``).

    load_folder(folder) -> Dataset             the official MLPerf Tiny layout: y_labels.csv and a file a sample
    from_list(name, [(file, bytes, label), …], classes=10) -> Dataset
    random_inputs(manifest, count=5) -> Dataset     for models without data; performance mode only

    bench(*, target, mode, model_dir, out_dir, dataset=None, console=None) -> Results
        One benchmark. `mode` is ``"performance"``, ``"accuracy"`` or ``"energy"``; `model_dir` is the compiled model
        (manifest.json, graph.npz). Writes results.json, samples.csv, run.json, results.txt and log.txt into `out_dir`,
        goes on where an interrupted run stopped, and prints a progress bar and a table on `console`.

    record_step(out_dir, step, *, tools={}, seconds={}, resources=None, fmax_hz=None) -> Path
        What another step (synthesis, simulator, firmware) did, for results.json: ``out_dir/steps/<step>.json``.

    print_implementation(console, report)           a built FPGA in the terminal: bars, clocks, critical path
    write_report(*, model_dir, out_dir) -> Path     report.html from the manifest, results.json and samples.csv

    BenchError                                  anything that went wrong; its message says what to do next
    Interrupted(BenchError)                     Ctrl-C: what was measured is on disk
"""

from bench.errors import BenchError, Interrupted
from bench.fpga import print_report as print_implementation
from bench.report import write_report
from bench.results import Results, record_step
from bench.samples import Dataset, Sample, from_list, load_folder, random_inputs
from bench.session import Target, bench

__all__ = [
    "BenchError",
    "Dataset",
    "Interrupted",
    "Results",
    "Sample",
    "Target",
    "bench",
    "from_list",
    "load_folder",
    "print_implementation",
    "random_inputs",
    "record_step",
    "write_report",
]
