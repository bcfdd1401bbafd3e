/* What the protocol and the engines need of the machine they run on. uart.c, timer.c and the linker script
 * provide it on the SoC, ../host/device.c in a process. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

/* The DMA window, not cached: the db buffer, the input (where it differs) and the output, at the offsets in model.h. */
extern volatile uint8_t device_memory[MODEL_MEMORY_BYTES];

void device_put(char c);       /* Sends a byte; waits while the transmitter is full. */
int device_get(void);          /* The next received byte (0 to 255), or -1 where none has come. Never waits. */
uint64_t device_cycles(void);  /* Clock cycles since power-up. */
uint32_t device_clock(void);   /* Clock cycles a second. */

uint32_t device_baud(void);             /* Bits a second on the serial line. */
void device_set_baud(uint32_t baud);    /* Waits until all is sent; the next byte goes at the new rate. */
void device_show_error(bool on);        /* The LED for errors, where there is one. */
bool device_has_timestamp(void);        /* Whether there is a pin for an energy meter. */
void device_set_timestamp(bool high);   /* Sets that pin. */

/* An element of the last output, composed of bytes: device_memory has no other type and the order is the contract's. */
static inline int32_t device_output(uint32_t index)
{
    const volatile uint8_t *p = device_memory + MODEL_OUTPUT_OFFSET + MODEL_OUTPUT_SIZE * index;
#if MODEL_OUTPUT_SIZE == 1
    return MODEL_OUTPUT_SIGNED ? (int8_t)p[0] : p[0];
#else
    return (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
#endif
}

#endif
