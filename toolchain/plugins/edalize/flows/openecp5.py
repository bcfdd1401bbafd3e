"""The open flow for Lattice ECP5 FPGAs, with any build of Yosys and with netlists made before."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.flows.openxc7 import Openxc7


class Openecp5(Openxc7):
    """Verilog, or a netlist made before, to NAME.bit, with edalize's own tools nextpnr and ecppack.

    Make goals: ``synth`` (NAME.json), ``pnr`` (NAME.config), ``bitstream`` (NAME.bit).
    """

    _flow: ClassVar[dict[str, Any]] = {
        "yosys_script": {"fdto": {"arch": "ecp5"}},
        "nextpnr": {"deps": ["yosys_script"], "fdto": {"arch": "ecp5"}},
        "ecppack": {"deps": ["nextpnr"]},
    }
    routed = "config"
