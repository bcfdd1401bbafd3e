"""The programs of the open flows as one small script: each notes its command line and writes files of the right shape.

Settings are read from ``settings.json`` beside the script: ``mhz`` by seed (0: no legal placement), ``slow``, the seeds
that wait to be killed, ``kill``, seeds that kill themselves, ``python``, whether nextpnr-himbaechel runs scripts,
``unplugged``, whether openFPGALoader finds no board.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

NAMES = (
    "yosys", "nextpnr-xilinx", "nextpnr-himbaechel", "nextpnr-ecp5", "fasm2frames", "xc7frames2bit", "ecppack",
    "vivado", "openFPGALoader",
)  # fmt: skip

SCRIPT = r"""
import json, os, re, signal, sys, time
from pathlib import Path
here, name, arguments = Path(__file__).parent, Path(sys.argv[0]).name, sys.argv[1:]
settings = json.loads((here / "settings.json").read_text())
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps([name, *arguments]) + "\n")
def after(option):
    return arguments[arguments.index(option) + 1]
if name == "openFPGALoader" and arguments == ["--version"]:
    sys.exit("Error parsing options: Option 'version' does not exist")
elif arguments in (["--version"], ["-V"]):
    print("Yosys 0.60" if name == "yosys" else name + " version 1.2.3")
elif arguments == ["--help"]:
    python = " --pre-place arg" if settings.get("python") else ""
    print("--report arg" + python if name == "nextpnr-himbaechel" else "--chipdb arg")
elif name == "yosys":
    script = Path(arguments[1]).read_text()
    source = "".join(Path(path).read_text() for path in re.findall(r'read_verilog -sv "(.*)"', script))
    if "syntax error" in source:
        sys.exit("design.v:1: ERROR: syntax error, unexpected TOK_ID")
    top, out = re.search(r"-top (\w+)", script)[1], re.search(r"write_json (\S+)", script)[1]
    held = "".join(re.findall(r"// holds ([01]+)", source)) or "0"
    cell = {"type": "RAMB18E1", "parameters": {"INIT_00": held}, "connections": {}}
    module = {"cells": {"rom": cell}, "netnames": {"clk": {"bits": [2]}}, "attributes": {"wires": source.count("wire")}}
    Path(out).write_text(json.dumps({"modules": {top: module}}))
    luts = int((re.findall(r"// takes (\d+)", source) or ["7"])[0])
    cells = {"num_cells_by_type": {"LUT4": luts, "RAMB18E1": 1}}
    Path(out.replace(".json", ".stat.json")).write_text(json.dumps({"modules": {"\\" + top: cells}}))
elif name.startswith("nextpnr"):
    seed = after("--seed")
    if seed in settings.get("slow", []):
        time.sleep(60)
    if seed in settings.get("kill", []):
        os.kill(os.getpid(), signal.SIGKILL)
    mhz = settings["mhz"][seed]
    print("Info: Max frequency for clock 'clk': 999.00 MHz (PASS at 50.00 MHz)")
    if not mhz:
        sys.exit("ERROR: Unable to find legal placement for cell 'carry$12'")
    print("Info: \t  SLICE_LUTX:      12/126800     0%")
    print("Info: Critical path report for clock 'clk' (posedge -> posedge):\nInfo: curr total")
    print("Info:  0.5  0.5  Source core.array0.sum_FDRE_Q_3.Q")
    print("Info:  7.0  7.5    Net core.array0.sum[3] budget 1.0 ns (1,1) -> (2,2)")
    print("Info:  0.5  8.0  Setup core.table1.index_FDRE_Q.D")
    print(f"Info: Max frequency for clock 'clk': {mhz:.2f} MHz (PASS at 50.00 MHz)")
    hop = lambda kind, delay, cell, net: {"type": kind, "delay": delay, "from": {"cell": cell}, "net": net}
    path = [hop("clk-to-q", 0.5, "core.array0.sum_TRELLIS_FF_Q_3", ""), hop("routing", 7.0, "", "core.array0.sum[3]"),
            hop("setup", 0.5, "core.table1.index_TRELLIS_FF_Q", "")]
    report = {"fmax": {"$glbnet$clk": {"achieved": mhz, "constraint": 50}}, "critical_paths": [
        {"from": "posedge $glbnet$clk", "to": "posedge $glbnet$clk", "path": path},
        {"from": "<async>", "to": "posedge $glbnet$clk", "path": path}],
        "utilization": {"SLICE_LUTX": {"used": 12, "available": 126800}, "SLICE_FFX": {"used": 9, "available": 126800},
            "RAMB18E1_RAMB18E1": {"used": 1, "available": 270}, "DSP48E1_DSP48E1": {"used": 0, "available": 240}}}
    if "--report" in arguments:
        Path(after("--report")).write_text(json.dumps(report))
    netlist = json.loads(Path(after("--json")).read_text())
    module = max(netlist["modules"].values(), key=lambda module: len(module.get("cells", {})))
    bits = module["cells"].get("rom", {"parameters": {"INIT_00": "0"}})["parameters"]["INIT_00"].zfill(256)
    fasm = f"X1Y1.SLICE_X0.ALUT.INIT[63:0] = 64'b1\nBRAM.RAMB18_Y0.INIT_00[255:0] = 256'b{bits}\n"
    out = next((a.removeprefix("fasm=") for a in arguments if a.startswith("fasm=")), None)
    out = out or after("--fasm" if "--fasm" in arguments else "--textcfg")
    Path(out).write_text(f"# seed {seed}, {module['attributes']}\n{fasm}")
elif name == "fasm2frames":
    Path(arguments[-1]).write_text("frames of " + Path(arguments[-2]).read_text())
elif name == "xc7frames2bit":
    Path(after("--output_file")).write_text("bits of " + Path(after("--frm_file")).read_text())
elif name == "ecppack":
    Path(arguments[-1]).write_text("bits of " + Path(arguments[-2]).read_text())
elif name == "vivado" and "-source" in arguments and any(a.endswith("_run.tcl") for a in arguments):
    if settings.get("vivado") == "fail":
        sys.exit("ERROR: [Place 30-640] Place Check : This design requires more RAMB36/FIFO cells than are available")
    top = next(a for a in arguments if a.endswith("_run.tcl")).removesuffix("_run.tcl")
    reports = Path(top + ".runs/impl_1")
    reports.mkdir(parents=True)
    for kind in ("timing_summary_routed", "utilization_placed"):
        (reports / f"{top}_{kind}.rpt").write_text(settings["vivado"][kind])
    Path(top + ".bit").write_text("bits")
elif name == "vivado":
    Path(arguments[-1].replace(".tcl", ".xpr")).write_text("project")
elif name == "openFPGALoader":
    print("Jtag frequency : requested 6.00MHz -> real 6.00MHz", flush=True)
    if settings.get("unplugged"):
        print("unable to open ftdi device: -3 (device not found)", file=sys.stderr)
        sys.exit("JTAG init failed with: unable to open ftdi device")
    print("\rLoad SRAM: [=====     ] 50.00%\rLoad SRAM: [==========] 100.00%\nDone")
else:
    sys.exit(f"{name}: unknown call {arguments}")
"""


class MockTools:
    """A folder with the programs; ``calls`` are their command lines so far, asking for versions and help left out."""

    def __init__(self, folder: Path, *, names: tuple[str, ...] = NAMES) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "mock.py").write_text(SCRIPT)
        self.set(mhz={str(seed): 60.0 + seed for seed in range(9)})
        for name in names:
            program = folder / name
            start = f"import sys; sys.argv[0] = '{name}'; __file__ = '{folder}/mock.py'; exec(open(__file__).read())"
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{start}" "$@"\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def set(self, **settings: object) -> None:
        path = self.folder / "settings.json"
        before = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(before | settings))

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if call[1:] not in (["--version"], ["-V"], ["--help"])]

    def forget(self) -> None:
        (self.folder / "calls.jsonl").unlink(missing_ok=True)

    def database(self, *, part: str = "xc7a100tcsg324-1") -> Path:
        """A folder with chip databases for both kinds of nextpnr and Project X-Ray's database, empty but complete."""
        root = self.folder / "data"
        for name in ("chipdb-xc7a100t.bin", "xc7a100tcsg324.bin", f"artix7/{part}/part.yaml"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return root

    def environment(self) -> dict[str, str]:
        """What PATH and the variables have to be for these tools to be found, and no others."""
        data = str(self.database())
        path = f"{self.folder}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return {"PATH": path, "YOSYS": str(self.folder / "yosys"), "CHIPDB": data, "PRJXRAY_DB_DIR": data}
