"""What is left of a device for the accelerator when the SoC has its share."""

from __future__ import annotations

from accel.dataflow.budget import Budget

# The SoC without accelerator, by `synth_xilinx` for the Artix-7 (tests/test_soc_synthesis.py keeps this honest).
SOC = Budget(lut=3000, ff=2200, bram36=30.0, dsp=4, name="soc")


def left_for_accelerator(device: Budget, soc: Budget = SOC) -> Budget:
    """The device less the SoC, resource by resource."""
    return Budget(
        lut=device.lut - soc.lut,
        ff=device.ff - soc.ff,
        bram36=device.bram36 - soc.bram36,
        dsp=device.dsp - soc.dsp,
        name=device.name,
    )


XC7A100T = Budget(lut=63_400, ff=126_800, bram36=135.0, dsp=240, name="xc7a100tcsg324-1")
