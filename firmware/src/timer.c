/* The uptime counter of LiteX's timer0: 64 bits, one step a clock cycle. */
#include <generated/csr.h>
#include <generated/soc.h>

#include "device.h"

uint64_t device_cycles(void)
{
    timer0_uptime_latch_write(1);
    return timer0_uptime_cycles_read();
}

uint32_t device_clock(void)
{
    return CONFIG_CLOCK_FREQUENCY;
}
