#include <stdint.h>

#include "device.h"
#include "print.h"
#include "protocol.h"

int main(void);
void trap(uint32_t cause, uint32_t address, uint32_t value);

int main(void)
{
    protocol_start();
    for (;;) {
        int c = device_get();
        if (c >= 0)
            protocol_receive(c);
        else
            protocol_idle();
    }
}

/* An exception of the CPU; crt0.S starts the firmware anew after it. */
void trap(uint32_t cause, uint32_t address, uint32_t value)
{
    device_show_error(true);
    print("\r\ne-[Trap: cause %x at %x, value %x]\r\n", cause, address, value);
}
