"""What is left of a device for the accelerator when the SoC has its share."""

from __future__ import annotations

from accel.dataflow.budget import Budget

# The SoC with the accelerator's face and the largest firmware, by `synth_xilinx` for the Artix-7, rounded up
# (tests/test_soc_generate.py measures it); of the DSP slices four multiply for the CPU, the others are left to a custom
# function unit.
SOC = Budget(lut=3_400, ff=2_500, bram36=31.5, dsp=10, name="soc")

# LUTs that nextpnr still places and routes within an hour on a small machine: 19,000 took it 14 minutes.
ROUTABLE_LUT = 24_000


def left_for_accelerator(device: Budget, soc: Budget = SOC) -> Budget:
    """The device less the SoC, resource by resource, and no more LUTs than the open router copes with."""
    return Budget(
        lut=min(device.lut - soc.lut, ROUTABLE_LUT),
        ff=device.ff - soc.ff,
        bram36=device.bram36 - soc.bram36,
        dsp=device.dsp - soc.dsp,
        name=device.name,
    )


XC7A100T = Budget(lut=63_400, ff=126_800, bram36=135.0, dsp=240, name="xc7a100tcsg324-1")
