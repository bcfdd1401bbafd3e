/* What a person and an energy meter see of the firmware; a board need have neither. */
#include <generated/csr.h>

#include "device.h"

void device_show_error(bool on)
{
#ifdef CSR_ERROR_LED_OUT_ADDR
    error_led_out_write(on);
#else
    (void)on;
#endif
}

bool device_has_timestamp(void)
{
#ifdef CSR_TIMESTAMP_OUT_ADDR
    return true;
#else
    return false;
#endif
}

void device_set_timestamp(bool high)
{
#ifdef CSR_TIMESTAMP_OUT_ADDR
    timestamp_out_write(high);
#else
    (void)high;
#endif
}
