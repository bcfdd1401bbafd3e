"""The SoC around the accelerator, in LiteX, and its simulation.

Four calls lead from a compiled model (``model_dir``) to a running board:

    manifest = Manifest.load(model_dir)
    soc.generate(soc_dir, board=board, accelerator=model_dir / "accelerator.v", memory=manifest.memory)
    firmware.build(manifest=manifest, generated_dir=soc_dir / "generated", out_dir=firmware_dir)
    simulator.build(soc_dir / "soc.v", out_dir=sim_dir, clock_hz=board.clock_hz)
    with simulator.Simulation(sim_dir / "Vsoc", rom=firmware_dir / "firmware.bin") as simulation: ... simulation.port

The headers depend on the board alone, and the simulator reads the firmware when it starts: the two can be built in any
order, and neither again for the other's sake. For an FPGA the firmware goes into soc.v: `generate` again, with ``rom``.
"""

from soc.generate import generate
from soc.soc import ACCELERATOR, BUFFER, ROM, SRAM, Hardware, HeadraceSoC

__all__ = ["ACCELERATOR", "BUFFER", "ROM", "SRAM", "Hardware", "HeadraceSoC", "generate"]
