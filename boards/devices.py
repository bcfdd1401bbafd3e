"""What is left of a device for the accelerator when the SoC has its share."""

from __future__ import annotations

from dataclasses import replace

from accel.dataflow.budget import Budget

# The SoC with the largest firmware, but without the accelerator, by `synth_xilinx` for the Artix-7, rounded up
# (tests/test_soc_generate.py measures it); the four DSP slices multiply for the CPU.
SOC = Budget(lut=2_800, ff=2_000, bram36=31.5, dsp=4, name="soc")

# LUTs that nextpnr still places and routes within an hour on a small machine: of a network of nodes (a MobileNet of so
# many took it half an hour, RN07 three quarters), and of an array that dense layers share, in which everything is
# connected with everything (MNIST's 20,000 took it a quarter).
ROUTABLE_LUT = 34_000
ROUTABLE_ARRAY_LUT = 24_000
# Of the DSP48E1: they come in chains of up to four that are added up, and of ten in a run two chains leave two over.
# nextpnr-himbaechel's placer, which tries places at random, found none for the last of RN07's 238 of 240 in five
# minutes, and `toolchain.macros` has room for 48 chains of four.
MOST_DSP = 0.95
# Of the 103.5 BRAM36 that the SoC leaves on the Artix-7 100T; the rest is for what synthesis finds beyond the estimate.
MOST_BRAM = 100.0


def left_for_accelerator(device: Budget, soc: Budget = SOC) -> Budget:
    """The device less the SoC, no more LUTs and DSP48E1 than the open tools cope with, less a reserve of block RAM."""
    return Budget(
        lut=min(device.lut - soc.lut, ROUTABLE_LUT),
        ff=device.ff - soc.ff,
        bram36=min(device.bram36 - soc.bram36, MOST_BRAM),
        dsp=int(MOST_DSP * device.dsp) - soc.dsp,
        name=device.name,
        array_lut=ROUTABLE_ARRAY_LUT,
    )


XC7A100T = Budget(lut=63_400, ff=126_800, bram36=135.0, dsp=240, name="xc7a100tcsg324-1")
XC7A35T = Budget(lut=20_800, ff=41_600, bram36=50.0, dsp=90, name="xc7a35tcsg324-1")

# Lattice FPGA-DS-02012: LUT4s, registers, 208 block RAMs of 18 Kbit, multipliers of 18 x 18 bits.
LFE5U_85F = Budget(lut=83_640, ff=83_640, bram36=104.0, dsp=156, name="LFE5U-85F-6BG381C")


# LUTs and multipliers, counted as folding does, that nextpnr-ecp5 still routes within minutes on a small machine: 8,000
# and 60 take it five to eleven beside other jobs, placing included. 114 MULT18X18D without registers of their own, in
# pairs that made products of 25 bits, were not routed after 19 minutes beside 4,000 LUTs.
ROUTABLE_ON_ECP5_LUT = 8_000
ROUTABLE_ON_ECP5_DSP = 60


def left_on_ecp5(device: Budget, soc: Budget = SOC) -> Budget:
    """What of an ECP5 to promise to folding, which counts in LUT6, and for requantization in operands of 25 bits.

    A LUT6 is up to four LUT4 and both families' adders take a LUT a bit: a third is on the safe side. A product of a
    25-bit operand is two multipliers of 18 x 18, so there are two for each that is promised. Block RAMs of 18 Kbit come
    as wide as those of the Artix-7. No more than the open router copes with.
    """
    left = left_for_accelerator(device, soc)
    return replace(
        left,
        lut=min(left.lut // 3, ROUTABLE_ON_ECP5_LUT),
        dsp=min(left.dsp // 2, ROUTABLE_ON_ECP5_DSP),
        array_lut=None,
        multiplier="dsp18",
    )
