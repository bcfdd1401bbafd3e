"""The open flow for Xilinx 7-series FPGAs: Yosys, nextpnr, and Project X-Ray's tools for the bitstream."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

from edalize.flows.edaflow import Edaflow, FlowGraph


class Openxc7(Edaflow):
    """Verilog, or a netlist made before, to NAME.bit.

    Make goals: ``synth`` (NAME.json), ``pnr`` (NAME.fasm), ``bitstream`` (NAME.bit).
    """

    argtypes: ClassVar[list[str]] = ["vlogdefine", "vlogparam"]

    _flow: ClassVar[dict[str, Any]] = {
        "yosys_script": {"fdto": {"arch": "xilinx"}},
        "nextpnr_xilinx": {"deps": ["yosys_script"]},
        "fasm2frames": {"deps": ["nextpnr_xilinx"]},
        "xc7frames2bit": {"deps": ["fasm2frames"]},
    }
    routed = "fasm"

    FLOW_OPTIONS: ClassVar[dict[str, Any]] = {
        **Edaflow.FLOW_OPTIONS,
        "synth": {"type": "str", "desc": "Synthesis tool: yosys (default), or none when a netlist is among the files"},
        "pnr": {"type": "str", "desc": "Place and route tool: next (default), or none to stop after synthesis"},
    }

    @classmethod
    def get_tool_options(cls, flow_options: dict[str, Any]) -> dict[str, Any]:
        tools = [*flow_options.get("frontends", []), *cls._flow]
        return cls.get_filtered_tool_options(tools, {name: node.get("fdto", {}) for name, node in cls._flow.items()})

    def configure_flow(self, flow_options: dict[str, Any]) -> FlowGraph:
        flow = deepcopy(self._flow)
        synth, pnr = flow_options.get("synth", "yosys"), flow_options.get("pnr", "next")
        for name, value, legal in (("synth", synth, ("yosys", "none")), ("pnr", pnr, ("next", "none"))):
            if value not in legal:
                raise RuntimeError(f"Invalid {name} option {value!r}. Valid values are {' and '.join(legal)}")
        first, second, *rest = flow
        if synth == "none":
            del flow[first]
            flow[second]["deps"] = []
        if pnr == "none":
            for tool in (second, *rest):
                flow.pop(tool)
        deps: list[str] = []
        for frontend in flow_options.get("frontends", []):
            flow[frontend] = {"deps": deps}
            deps = [frontend]
        if synth != "none":
            flow[first]["deps"] = deps
        name = self.edam["name"]
        if synth != "none":
            self.commands.add([], ["synth"], [f"{name}.json"])
        if pnr != "none":
            self.commands.add([], ["pnr"], [f"{name}.{self.routed}"])
            self.commands.add([], ["bitstream"], [f"{name}.bit"])
        self.goal = "synth" if pnr == "none" else "bitstream"
        self.commands.set_default_target(self.goal)
        return FlowGraph.fromdict(flow)

    def build(self) -> None:
        command, arguments = self.build_runner.get_build_command()
        self._run_tool(command, [*arguments, self.goal], cwd=self.work_root)
