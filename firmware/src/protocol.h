/* The device side of the serial protocol: docs/protocol.md. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

void protocol_start(void);           /* Says that the device is there. */
void protocol_receive(int c);        /* Takes a received byte (0 to 255); runs the command that it ends. */
void protocol_idle(void);            /* Takes back a baud rate that was not confirmed in time; for whoever waits. */

#endif
