/* The streaming accelerator behind its register file (docs/contracts.md, "The module headrace"). */
#include <generated/csr.h>
#include <generated/mem.h>
#include <generated/soc.h>

#include "device.h"
#include "engine.h"
#include "print.h"

#if BUFFER_BASE != MODEL_MEMORY_BASE || BUFFER_SIZE < MODEL_MEMORY_BYTES
#error "the model was compiled for another DMA window than the buffer of this SoC: compile both for the same board"
#endif

#define REGISTER(offset) (*(volatile uint32_t *)(ACCELERATOR_BASE + (offset)))
#define MAGIC REGISTER(0x00)
#define HASH REGISTER(0x04)
#define START REGISTER(0x08)
#define STATUS REGISTER(0x0c)
#define ERROR REGISTER(0x10)
#define CLEAR REGISTER(0x14)
#define SOURCE REGISTER(0x18)
#define DESTINATION REGISTER(0x1c)
#define IRQ_ENABLE REGISTER(0x20)
#define CYCLES REGISTER(0x24)
#define CORE_CYCLES REGISTER(0x28)
#define SOURCE_BYTES REGISTER(0x2c)
#define DESTINATION_BYTES REGISTER(0x30)
#define STREAMS REGISTER(0x34)
#define STARVED(stream) REGISTER(0x40 + 8 * (stream))
#define BLOCKED(stream) REGISTER(0x44 + 8 * (stream))

#define SOURCE_ADDRESS (MODEL_MEMORY_BASE + MODEL_INPUT_OFFSET)
#define DESTINATION_ADDRESS (MODEL_MEMORY_BASE + MODEL_OUTPUT_OFFSET)

enum { MAGIC_VALUE = 0x31445248 };
enum { BUSY = 1, DONE = 2, FAILED = 4 };                                        /* STATUS */
enum { START_WHILE_BUSY = 1, WRONG_HASH, BAD_SOURCE, BAD_DESTINATION, READ_ERROR, WRITE_ERROR }; /* ERROR */
enum { CLEAR_EVENTS = 1, ABORT = 2 };                                           /* CLEAR */

const char engine_name[] = "stream";

static struct {
    const char *format;
    uint32_t a, b;
} reason;

static uint32_t total_cycles;

static bool fail(const char *format, uint32_t a, uint32_t b)
{
    reason.format = format;
    reason.a = a;
    reason.b = b;
    return false;
}

void engine_explain(void)
{
    print(reason.format, reason.a, reason.b);
}

bool engine_check(void)
{
    if (MAGIC != MAGIC_VALUE)
        return fail("No accelerator: register MAGIC reads %x, expected %x", MAGIC, MAGIC_VALUE);
    if (HASH != MODEL_HASH)
        return fail("Model mismatch: gateware %x, firmware %x", HASH, MODEL_HASH);
    if (SOURCE_BYTES != MODEL_INPUT_BYTES)
        return fail("Input mismatch: gateware %u bytes, firmware %u", SOURCE_BYTES, MODEL_INPUT_BYTES);
    if (DESTINATION_BYTES != MODEL_OUTPUT_BYTES)
        return fail("Output mismatch: gateware %u bytes, firmware %u", DESTINATION_BYTES, MODEL_OUTPUT_BYTES);
    return true;
}

/* Inferences back to back while they go well; answers STATUS after the last, or BUSY where it took too long. The clock
 * is latched just before each start, and the latch is read while the accelerator works; after the last it is latched
 * again. */
__attribute__((noinline, aligned(32))) static uint32_t run(uint32_t count)
{
    uint32_t status = DONE, begin = 0;
    for (; count && status == DONE; count--) {
        uint32_t polls = MODEL_POLLS;
        timer0_uptime_latch_write(1);
        START = MODEL_HASH;
        begin = (uint32_t)timer0_uptime_cycles_read();
        do
            status = STATUS;
        while (!(status & (DONE | FAILED)) && --polls);
    }
    timer0_uptime_latch_write(1);
    total_cycles = (uint32_t)timer0_uptime_cycles_read() - begin;
    return status;
}

static void prepare(void)
{
    SOURCE = SOURCE_ADDRESS;
    DESTINATION = DESTINATION_ADDRESS;
}

/* Turns a bad end into a reason, and the accelerator back into one that can start. */
static bool judge(uint32_t status)
{
    static const char *const causes[] = {
        "Accelerator error without a cause",
        "Accelerator error 1: start while busy",
        "Accelerator error 2: wrong model hash",
        "Accelerator error 3: source outside memory or unaligned",
        "Accelerator error 4: destination outside memory or unaligned",
        "Accelerator error 5: bus error reading",
        "Accelerator error 6: bus error writing",
    };
    if (status == DONE)
        return true;
    uint32_t cause = ERROR;
    CLEAR = CLEAR_EVENTS | ABORT;
    if (!(status & (DONE | FAILED)))
        return fail("Timeout: the accelerator is busy after %u polls", MODEL_POLLS, 0);
    if (cause >= sizeof causes / sizeof causes[0])
        return fail("Accelerator error %u", cause, 0);
    return fail(causes[cause], 0, 0);
}

bool engine_run(uint32_t count)
{
    prepare();
    run(0); /* fetches the code after the loop into the cache, which would else delay the end of the first inference */
    return judge(run(count));
}

struct engine_cycles engine_cycles(void)
{
    return (struct engine_cycles){total_cycles, CYCLES, CORE_CYCLES};
}

uint32_t engine_streams(void)
{
    return STREAMS;
}

void engine_stalls(uint32_t stream, uint32_t *starved, uint32_t *blocked)
{
    *starved = STARVED(stream);
    *blocked = BLOCKED(stream);
}

/* --- Self test --- */

/* A sum over the output in which the order counts (FNV-1a, a word at a time). */
static uint32_t digest(void)
{
    uint32_t sum = 0x811c9dc5;
    for (uint32_t i = 0; i < MODEL_OUTPUT_ELEMENTS; i++)
        sum = (sum ^ (uint32_t)device_output(i)) * 0x01000193;
    return sum;
}

/* An inference of the input in memory gives the output that it gave before. */
static bool same(uint32_t right)
{
    if (!engine_run(1))
        return false;
    return digest() == right || fail("output digest %x, expected %x", digest(), right);
}

/* A start with these registers fails for this cause. */
static bool provoke(uint32_t source, uint32_t destination, uint32_t hash, uint32_t cause)
{
    CLEAR = CLEAR_EVENTS;
    SOURCE = source;
    DESTINATION = destination;
    START = hash;
    for (uint32_t polls = MODEL_POLLS; !(STATUS & (DONE | FAILED)) && polls; polls--)
        ;
    uint32_t status = STATUS, found = ERROR;
    CLEAR = CLEAR_EVENTS | ABORT;
    if (status != FAILED)
        return fail("status %u while provoking error %u", status, cause);
    return found == cause || fail("error %u, expected %u", found, cause);
}

static bool start_while_busy(void)
{
    prepare();
    CLEAR = CLEAR_EVENTS;
    START = MODEL_HASH;
    START = MODEL_HASH;
    for (uint32_t polls = MODEL_POLLS; !(STATUS & DONE) && polls; polls--)
        ;
    uint32_t status = STATUS, found = ERROR;
    CLEAR = CLEAR_EVENTS;
    if (status != (DONE | FAILED))
        return fail("status %u after a start while busy, expected %u", status, DONE | FAILED);
    return found == START_WHILE_BUSY || fail("error %u, expected %u", found, START_WHILE_BUSY);
}

#ifdef ACCELERATOR_INTERRUPT

static uint32_t interrupt_pending(void)
{
    uint32_t pending;
    (void)STATUS; /* comes back only when the writes before it have arrived */
    __asm__ volatile("csrr %0, 0xfc0" : "=r"(pending));
    return pending >> ACCELERATOR_INTERRUPT & 1;
}

/* The line is raised at the end and falls when cleared. The CPU as a whole masks interrupts: the line is only seen. */
static bool interrupt_line(void)
{
    __asm__ volatile("csrs 0xbc0, %0" : : "r"(1u << ACCELERATOR_INTERRUPT));
    CLEAR = CLEAR_EVENTS;
    IRQ_ENABLE = 1;
    uint32_t before = interrupt_pending();
    bool ran = engine_run(1);
    uint32_t after = interrupt_pending();
    CLEAR = CLEAR_EVENTS;
    uint32_t cleared = interrupt_pending();
    IRQ_ENABLE = 0;
    __asm__ volatile("csrc 0xbc0, %0" : : "r"(1u << ACCELERATOR_INTERRUPT));
    if (!ran)
        return false;
    if (before || !after)
        return fail("interrupt %u before an inference and %u after", before, after);
    return !cleared || fail("interrupt stays after clear", 0, 0);
}

#else

static bool interrupt_line(void)
{
    return true; /* this SoC does not connect it */
}

#endif

#define BELOW (MODEL_MEMORY_BASE - 4)
#define END (MODEL_MEMORY_BASE + MODEL_MEMORY_BYTES)

bool engine_self_test(void)
{
    static const struct {
        uint32_t source, destination, hash, cause;
    } wrong[] = {
        {SOURCE_ADDRESS, DESTINATION_ADDRESS, MODEL_HASH ^ 1, WRONG_HASH},
        {BELOW, DESTINATION_ADDRESS, MODEL_HASH, BAD_SOURCE},
        {END - MODEL_INPUT_BYTES / 4 * 4 + 4, DESTINATION_ADDRESS, MODEL_HASH, BAD_SOURCE}, /* its end is outside */
        {SOURCE_ADDRESS + 1, DESTINATION_ADDRESS, MODEL_HASH, BAD_SOURCE},
        {SOURCE_ADDRESS, BELOW, MODEL_HASH, BAD_DESTINATION},
        {SOURCE_ADDRESS, END - MODEL_OUTPUT_BYTES / 4 * 4 + 4, MODEL_HASH, BAD_DESTINATION},
        {SOURCE_ADDRESS, DESTINATION_ADDRESS + 2, MODEL_HASH, BAD_DESTINATION},
    };
    if (!engine_run(1))
        return false;
    uint32_t right = digest();
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (!provoke(wrong[i].source, wrong[i].destination, wrong[i].hash, wrong[i].cause) || !same(right))
            return false;
    if (!start_while_busy())
        return false;
    if (digest() != right)
        return fail("a start while busy changed the output", 0, 0);
    return interrupt_line() && same(right);
}
