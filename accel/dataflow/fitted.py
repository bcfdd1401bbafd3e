"""The factors of the cost model that only synthesis knows, kept in fitted.toml, which `ci.calibrate` can write anew."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


@dataclass
class Fitted:
    """LUTs for each unit of something.

    ``product_of_1_bit``, ``product_of_2_bits``: for each bit of the input of a product of such a weight.
    ``carry_save``: of wider ones, for each bit that is added up. ``adder``: for each bit of a sum of two numbers.
    ``pair``: for each pair of bits that is compared and counted. ``choice``: for each bit that a multiplexer chooses
    from. ``comparator``: for each bit. ``thresholds``: for each of their bits in memory (neighbours have topmost bits
    in common, which are stored once). ``repack``: for each bit of the store of a change of lanes. ``array_control``:
    the counters of an array; ``layer_control``: what chooses among those of its layers, for each; ``window_control``
    and ``stream_control``: the same of a convolution and of a smaller node.
    """

    product_of_1_bit: float
    product_of_2_bits: float
    carry_save: float
    adder: float
    pair: float
    choice: float
    comparator: float
    thresholds: float
    repack: float
    array_control: float
    layer_control: float
    window_control: float
    stream_control: float

    @classmethod
    def load(cls, path: Path = FILE) -> Fitted:
        """From a file. Raises TypeError where a factor is missing or unknown."""
        return cls(**{name: float(value) for name, value in tomllib.loads(path.read_text()).items()})

    def save(self, yosys: str, path: Path = FILE) -> None:
        """Into a file, with the version of Yosys that they fit."""
        head = (
            "# Factors of the cost model that logic optimization decides, in LUTs of the Artix-7 "
            "(accel/dataflow/fitted.py says of what).\n"
            f"# Fitted to Yosys {yosys}; `python -m ci.calibrate FOLDER --write` fits them again.\n"
        )
        path.write_text(head + "".join(f"{name} = {value}\n" for name, value in asdict(self).items()))


LUTS = Fitted.load()
