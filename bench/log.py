"""log.txt: every line of the wire. results.txt: the lines of MLCommons' runner that a submission is checked for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType

PREFIX = "ulp-mlperf"


def stamp() -> str:
    """Month, day and time as MLCommons' runner writes them: 0725.143552."""
    return datetime.now().strftime("%m%d.%H%M%S")


class Log:
    """Both files of a folder, appended to; every line is on its way to the disk when the call returns."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "log.txt").open("a", encoding="utf-8", buffering=1)
        self._results = (folder / "results.txt").open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._results.close()

    def line(self, who: str, text: str) -> None:
        """One line of the wire: ``who`` is ``"host"`` or ``"dut"``."""
        self._log.write(f"{stamp()} {who}: {text}\n")

    def result(self, text: str) -> None:
        """One line of results.txt, in the log as well."""
        self._results.write(f"{stamp()} {PREFIX}: {text}\n")
        self._log.write(f"{stamp()} {PREFIX}: {text}\n")

    def window(self, number: int, inferences: int, seconds: float) -> None:
        self.result(f"Performance results for window {number}:")
        self.result(f"  # Inferences : {inferences:>13}")
        self.result(f"  Runtime      : {seconds:>10.3f} sec.")
        self.result(f"  Throughput   : {inferences / seconds:>10.3f} inf./sec.")

    def performance(self, throughput: float) -> None:
        self.result(f"Median throughput is {throughput:>10.3f} inf./sec.")

    def accuracy(self, top1: float | None, auc: float | None) -> None:
        if top1 is not None:
            self.result(f"Top-1: {100 * top1:.1f}")
        if auc is not None:
            self.result(f"AUC: {auc:.3f}")
