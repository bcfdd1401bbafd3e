/* The UART of LiteX, polled: its receiver keeps 16 bytes, and the host waits for m-ready. */
#include <generated/csr.h>

#include "device.h"

enum { RECEIVED = 2 }; /* the receive bit of uart_ev_pending */

void device_put(char c)
{
    while (uart_txfull_read())
        ;
    uart_rxtx_write((uint8_t)c);
}

int device_get(void)
{
    if (uart_rxempty_read())
        return -1;
    int c = (int)(uart_rxtx_read() & 0xff);
    uart_ev_pending_write(RECEIVED); /* takes the byte off */
    return c;
}

#ifdef CSR_UART_PHY_TUNING_WORD_ADDR
/* A rate is the step of a 32-bit phase that overflows once a bit: 2**32 * baud / clock. */
static uint32_t tuning(uint32_t baud)
{
    return (uint32_t)(((uint64_t)baud << 32) / device_clock());
}

uint32_t device_baud(void)
{
    /* rounded up: the step was rounded down */
    return (uint32_t)(((uint64_t)uart_phy_tuning_word_read() * device_clock() + UINT32_MAX) >> 32);
}

void device_set_baud(uint32_t baud)
{
    uint64_t bits = 12; /* the byte that has left the buffer takes ten */
    while (!uart_txempty_read())
        ;
    for (uint64_t end = device_cycles() + bits * device_clock() / device_baud(); device_cycles() < end;)
        ;
    uart_phy_tuning_word_write(tuning(baud));
}
#else
/* In simulation bytes have no rate; what the host asks for is kept, so that it finds what it asked for. */
static uint32_t rate = 115200;

uint32_t device_baud(void)
{
    return rate;
}

void device_set_baud(uint32_t baud)
{
    rate = baud;
}
#endif
