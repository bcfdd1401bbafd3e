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
