/* The engine of the device in a process: it looks the output of an input up in a file of known pairs. */
#ifndef ENGINE_HOST_H
#define ENGINE_HOST_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t engine_host_elapsed; /* cycles since power-up: what the inferences took */
extern uint32_t engine_host_cycles;  /* of one inference */
extern uint32_t engine_host_hash;    /* of the model that the hardware claims to be */
extern uint32_t engine_host_fail;    /* which inference fails, counted from 1; 0: none */

/* Reads pairs of input and output, as they lie in the device's memory. False where the file cannot be read. */
bool engine_host_load(const char *path);

#endif
