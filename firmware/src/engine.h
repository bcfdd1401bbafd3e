/* An engine runs inferences: from the input at MODEL_INPUT_OFFSET of device_memory, which it leaves as it is, to the
 * output at MODEL_OUTPUT_OFFSET. Exactly one engine_*.c is linked. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct engine_cycles {
    uint32_t total;  /* from the start to the known end of the last inference, as the CPU counts */
    uint32_t engine; /* from start to done as the hardware counts, memory traffic included */
    uint32_t core;   /* from the first input to the last output of the core */
};

extern const char engine_name[];

/* These answer whether it went well. Where not, engine_explain() prints the reason, and the next call finds the engine
 * ready. */
bool engine_check(void);         /* The hardware is there and holds the model of this firmware. */
bool engine_run(uint32_t count); /* So many inferences back to back (at least one). */
bool engine_self_test(void);     /* Provokes every error that can be, and recovers. Overwrites the output. */
void engine_explain(void);       /* Prints the reason of the last failure, without a line's end. */

struct engine_cycles engine_cycles(void);
uint32_t engine_streams(void); /* how many have stall counters */
void engine_stalls(uint32_t stream, uint32_t *starved, uint32_t *blocked); /* in cycles, of the last inference */

#endif
