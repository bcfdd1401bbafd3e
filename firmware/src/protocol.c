#include "protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "engine.h"
#include "head.h"
#include "input.h"
#include "print.h"
#include "settings.h"
#include "words.h"

#define COMMAND_SIZE 80 /* characters of a command, as in the reference */
#define CANCEL 0x03     /* Ctrl-C */
#define CHUNK 16        /* inferences between two looks at the serial line */

static char command[COMMAND_SIZE + 1]; /* what came since the last % */
static uint32_t length;
static bool too_long;

/* What comes while inferences run: a ring, its indices modulo 256. What does not fit is lost: the host is to wait. */
static uint8_t ahead[256], first, end;

static uint32_t expected, loaded; /* bytes that db load announced, and that came */
static bool have_output;          /* the output in memory is whole */
static uint64_t numbers[MODEL_RESULTS]; /* what it means, times 1000 */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Microseconds since power-up, modulo 2**32. */
static uint32_t microseconds(void)
{
    uint64_t cycles = device_cycles();
    uint32_t clock = device_clock();
    return (uint32_t)(cycles / clock * 1000000 + cycles % clock * 1000000 / clock);
}

/* --- Inference --- */

static bool interrupted;

/* Runs so many inferences; false where Ctrl-C came or the engine failed. */
static bool run(uint32_t count)
{
    interrupted = false;
    while (count) {
        for (int c = device_get(); c >= 0; c = device_get())
            if (c == CANCEL) {
                first = end;
                interrupted = true;
                return false;
            } else if ((uint8_t)(end + 1) != first)
                ahead[end++] = (uint8_t)c;
        uint32_t chunk = count < CHUNK ? count : CHUNK;
        if (!engine_run(chunk))
            return false;
        count -= chunk;
    }
    return true;
}

static void explain(void)
{
    print("e-[");
    if (interrupted)
        print("Interrupted");
    else
        engine_explain();
    print("]\r\n");
}

/* Answers whether the engine fits; else says why not. */
static bool engine_fits(void)
{
    interrupted = false;
    if (engine_check())
        return true;
    explain();
    return false;
}

static bool output_there(void)
{
    if (!have_output)
        print("e-[No inference yet]\r\n");
    return have_output;
}

static void results(char *const argument[])
{
    (void)argument;
    if (!output_there())
        return;
    print("m-results-[");
    for (uint32_t i = 0; i < MODEL_RESULTS; i++)
        print(i ? ",%t" : "%t", numbers[i]);
    print("]\r\n");
}

/* A timestamp: an edge of the pin, or microseconds to be printed. */
static uint32_t lap(void)
{
    if (!settings_energy())
        return microseconds();
    settings_pulse();
    return 0;
}

static void infer(char *const argument[])
{
    uint32_t count = 1, warmup = 10;
    if (argument[0] && (!number(argument[0], &count) || count == 0)) {
        print("e-[Inference iterations must be >0]\r\n");
        return;
    }
    if (argument[0] && argument[1] && !number(argument[1], &warmup)) {
        print("e-[Inference warmup must be >=0]\r\n");
        return;
    }
    if (loaded < expected || expected == 0) {
        print("e-[Input is incomplete: %u of %u bytes]\r\n", loaded, expected ? expected : MODEL_PAYLOAD_BYTES);
        return;
    }
    if (expected != MODEL_PAYLOAD_BYTES) {
        print("e-[Input has %u bytes, the model needs %u]\r\n", expected, MODEL_PAYLOAD_BYTES);
        return;
    }
    if (!engine_fits() || !input_load())
        return;
    have_output = false;
    print("m-warmup-start-%u\r\n", warmup);
    if (!run(warmup)) {
        explain();
        return;
    }
    print("m-warmup-done\r\nm-infer-start-%u\r\n", count);
    /* Both timestamps are printed after the inferences, so that the time to print the first is not in between. */
    uint32_t start = lap();
    have_output = run(count);
    uint32_t stop = lap();
    if (!settings_energy())
        print("m-lap-us-%u\r\n", start);
    if (!have_output) {
        explain();
        return;
    }
    if (!settings_energy())
        print("m-lap-us-%u\r\n", stop);
    print("m-infer-done\r\n");
    head_thousandths(numbers);
    results(argument);
}

/* --- The db buffer --- */

static void db_load(const char *size)
{
    uint32_t n;
    expected = loaded = 0;
    if (!size)
        print("e-[Command 'db load' requires the # of bytes]\r\n");
    else if (!number(size, &n) || n == 0)
        print("e-[Command 'db load' must be >0 bytes]\r\n");
    else if (n > MODEL_DB_BYTES)
        print("e-[Command 'db load' must be <=%u bytes]\r\n", MODEL_DB_BYTES);
    else {
        expected = n;
        print("m-[Expecting %u bytes]\r\n", n);
    }
}

static void db_print(void)
{
    for (uint32_t i = 0; i < loaded; i++)
        print("%s%b%s", i % 8 ? "-" : "m-buffer-", (uint32_t)device_memory[i],
              i % 8 == 7 || i + 1 == loaded ? "\r\n" : "");
}

/* Takes the digits of a line, or none of them where one is wrong, so that the host can send the line again. */
static void db_digits(const char *digits)
{
    uint32_t bytes = 0;
    if (loaded == expected) {
        print("e-[Command 'db load' must come first]\r\n");
        return;
    }
    while (digits[2 * bytes] && digits[2 * bytes + 1])
        bytes++;
    if (digits[2 * bytes]) {
        print("e-[Insufficent number of hex digits]\r\n");
        return;
    }
    if (bytes > expected - loaded)
        bytes = expected - loaded; /* the rest is disregarded */
    for (uint32_t i = 0; i < bytes; i++)
        if (hex_digit(digits[2 * i]) < 0 || hex_digit(digits[2 * i + 1]) < 0) {
            char pair[] = {digits[2 * i], digits[2 * i + 1], 0};
            print("e-[Invalid hex digit '%s']\r\n", pair);
            return;
        }
    for (uint32_t i = 0; i < bytes; i++)
        device_memory[loaded++] = (uint8_t)(hex_digit(digits[2 * i]) << 4 | hex_digit(digits[2 * i + 1]));
    if (loaded == expected)
        print("m-load-done\r\n");
}

static void db(char *const argument[])
{
    if (!argument[0])
        print("e-[Command 'db' requires a subcommand]\r\n");
    else if (equal(argument[0], "load"))
        db_load(argument[1]);
    else if (equal(argument[0], "print"))
        db_print();
    else
        db_digits(argument[0]);
}

/* --- What the device is --- */

static void name(char *const argument[])
{
    (void)argument;
    print("m-name-dut-[headrace]\r\n");
}

static void profile(char *const argument[])
{
    (void)argument;
    print("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[%s]\r\n", MODEL_TASK);
    print("m-headrace-[%s,%s,%s]\r\n", MODEL_NAME, MODEL_BOARD, engine_name);
}

static void timestamp(char *const argument[])
{
    (void)argument;
    if (settings_energy())
        settings_pulse();
    else
        print("m-lap-us-%u\r\n", microseconds());
}

/* --- Our own --- */

static void scores(char *const argument[])
{
    (void)argument;
    if (!output_there())
        return;
    print("m-scores-[");
    for (uint32_t i = 0; i < MODEL_OUTPUT_ELEMENTS; i++)
        print(i ? ",%d" : "%d", device_output(i));
    print("]\r\n");
}

static void cycles(char *const argument[])
{
    (void)argument;
    if (!output_there())
        return;
    struct engine_cycles last = engine_cycles();
    print("m-cycles-[%u,%u,%u]\r\n", last.total, last.engine, last.core);
}

static void stalls(char *const argument[])
{
    (void)argument;
    if (!output_there())
        return;
    print("m-stalls-[");
    for (uint32_t i = 0; i < engine_streams(); i++) {
        uint32_t starved, blocked;
        engine_stalls(i, &starved, &blocked);
        print(i ? ",%u,%u" : "%u,%u", starved, blocked);
    }
    print("]\r\n");
}

static void hash(char *const argument[])
{
    (void)argument;
    if (engine_fits())
        print("m-hash-[%x]\r\n", (uint32_t)MODEL_HASH);
}

static void clock(char *const argument[])
{
    (void)argument;
    print("m-clock-[%u]\r\n", device_clock());
}

static void engine(char *const argument[])
{
    (void)argument;
    print("m-engine-[%s]\r\n", engine_name);
}

static void self_test(char *const argument[])
{
    (void)argument;
    have_output = false;
    if (!engine_fits())
        return;
    if (engine_self_test()) {
        print("m-selftest-[pass]\r\n");
        return;
    }
    print("e-[Self test: ");
    engine_explain();
    print("]\r\n");
}

/* --- Commands --- */

static void help(char *const argument[]);

static const struct {
    const char *name;
    void (*handler)(char *const argument[]); /* argument: two words, NULL where missing */
    const char *usage;
} commands[] = {
    {"name", name, "name: who the device is"},
    {"profile", profile, "profile: firmware, task, and model, board and engine"},
    {"timestamp", timestamp, "timestamp: microseconds since power-up"},
    {"db", db, "db load N: expect N bytes; db HH...: take bytes; db print: show them"},
    {"infer", infer, "infer [N=1] [W=10]: N inferences, timed, after W that are not; Ctrl-C interrupts"},
    {"results", results, "results: what the last inference means"},
    {"scores", scores, "scores: the integers of the last output"},
    {"cycles", cycles, "cycles: of the last inference, as seen by CPU, accelerator and core"},
    {"stalls", stalls, "stalls: of the last inference, cycles starved and blocked, a pair a stream"},
    {"hash", hash, "hash: of the model in the gateware"},
    {"clock", clock, "clock: in Hz"},
    {"engine", engine, "engine: what runs the inferences"},
    {"baud", settings_baud, "baud [N]: bits a second from the next command on, which has to be the same one"},
    {"mode", settings_mode, "mode [performance or energy]: timestamps as text, or as falling edges of a pin"},
    {"selftest", self_test, "selftest: provoke errors and recover"},
    {"help", help, "help: this list"},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static void help(char *const argument[])
{
    (void)argument;
    for (uint32_t i = 0; i < COMMANDS; i++)
        print("%s\r\n", commands[i].usage);
}

/* Cuts the next word off, at runs of spaces; NULL where there is none. */
static char *word(char **text)
{
    while (**text == ' ')
        ++*text;
    if (!**text)
        return NULL;
    char *start = *text;
    while (**text && **text != ' ')
        ++*text;
    if (**text)
        *(*text)++ = 0;
    return start;
}

static void execute(void)
{
    char *text = command;
    command[length] = 0;
    device_show_error(false);
    if (too_long) {
        print("e-[Command longer than %u characters]\r\n", (uint32_t)COMMAND_SIZE);
        return;
    }
    char *verb = word(&text);
    char *argument[2] = {word(&text), NULL};
    argument[1] = word(&text);
    for (uint32_t i = 0; verb && i < COMMANDS; i++)
        if (equal(verb, commands[i].name)) {
            commands[i].handler(argument);
            return;
        }
    print("e-[Unknown command: %s]\r\n", verb ? verb : "");
}

static void take(int c)
{
    if (c == '%') {
        execute();
        print("m-ready\r\n");
        settings_apply();
    }
    if (c == '%' || c == CANCEL) {
        length = 0;
        too_long = false;
    } else if (c == '\r' || c == '\n')
        ; /* no part of the protocol, but terminals send them */
    else if (length == COMMAND_SIZE)
        too_long = true;
    else
        command[length++] = c < ' ' || c > '~' ? '?' : (char)c;
}

void protocol_start(void)
{
    print("m-init-done\r\nm-ready\r\n");
}

void protocol_idle(void)
{
    if (!settings_expired())
        return;
    length = 0; /* what came at the other baud rate was noise */
    too_long = false;
}

void protocol_receive(int c)
{
    take(c);
    while (first != end)
        take(ahead[first++]);
}
