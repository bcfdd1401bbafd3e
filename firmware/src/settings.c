#include "settings.h"

#include <stdint.h>

#include "device.h"
#include "print.h"
#include "words.h"

#define SLOWEST 1200    /* bits a second */
#define CLOCKS_A_BIT 16 /* at least, or the receiver hits bits at their edges */
#define TRIAL_SECONDS 2 /* for which a new baud rate stays without being confirmed */
#define PULSE_NS 2000   /* the timestamp pin is low, twice what an energy meter needs to see */

static uint32_t next_baud; /* from the next command on; 0 where nothing changes */
static uint32_t kept_baud; /* to go back to, while a new one is on trial; else 0 */
static uint64_t trial_end;
static bool energy;
static uint32_t pulse_cycles; /* computed ahead: a division takes longer than the pulse */

/* Unless the same command confirms a new rate there, the device goes back: a host that cannot be heard cannot say so. */
void settings_baud(char *const argument[])
{
    uint32_t rate = device_baud(), fastest = device_clock() / CLOCKS_A_BIT;
    if (argument[0] && (!number(argument[0], &rate) || rate < SLOWEST || rate > fastest)) {
        print("e-[Baud rate must be %u to %u]\r\n", (uint32_t)SLOWEST, fastest);
        return;
    }
    if (argument[0] && rate == device_baud())
        kept_baud = 0;
    else if (argument[0])
        next_baud = rate;
    print("m-baud-[%u]\r\n", rate);
}

void settings_apply(void)
{
    if (!next_baud)
        return;
    if (!kept_baud)
        kept_baud = device_baud();
    device_set_baud(next_baud);
    next_baud = 0;
    trial_end = device_cycles() + (uint64_t)TRIAL_SECONDS * device_clock();
}

bool settings_expired(void)
{
    if (!kept_baud || device_cycles() < trial_end)
        return false;
    device_set_baud(kept_baud);
    kept_baud = 0;
    return true;
}

void settings_mode(char *const argument[])
{
    bool asked = argument[0] && equal(argument[0], "energy");
    if (argument[0] && !asked && !equal(argument[0], "performance")) {
        print("e-[Mode must be performance or energy]\r\n");
        return;
    }
    if (asked && !device_has_timestamp()) {
        print("e-[No timestamp pin on this board]\r\n");
        return;
    }
    if (argument[0]) {
        energy = asked;
        pulse_cycles = (uint32_t)((uint64_t)PULSE_NS * device_clock() / 1000000000);
        device_set_timestamp(energy); /* high between the edges */
    }
    print("m-mode-[%s]\r\n", energy ? "energy" : "performance");
}

bool settings_energy(void)
{
    return energy;
}

/* The falling edge is the moment. */
void settings_pulse(void)
{
    uint64_t end = device_cycles() + pulse_cycles;
    device_set_timestamp(false);
    while (device_cycles() < end)
        ;
    device_set_timestamp(true);
}
