/* The device in a process: the protocol of the firmware on stdin and stdout, a TCP port or a pseudo-terminal, with the
 * engine of engine_host.c and a clock that only inferences advance, so that a session is the same each time and takes no
 * time. */
#define _GNU_SOURCE
#include "device.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "engine_host.h"
#include "protocol.h"

volatile uint8_t device_memory[MODEL_MEMORY_BYTES];

static uint32_t clock_hz = 100000000;
static int in = STDIN_FILENO, out = STDOUT_FILENO;
static bool ended, pins;
static char sent[1 << 16];
static size_t pending;

/* What is sent while nobody is connected is kept, as far as it fits. */
static void flush(void)
{
    size_t done = 0;
    if (out < 0)
        return;
    while (done < pending) {
        ssize_t n = write(out, sent + done, pending - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    pending = 0;
}

void device_put(char c)
{
    if (pending == sizeof sent)
        flush();
    if (pending < sizeof sent)
        sent[pending++] = c;
}

static int receive(int wait)
{
    static unsigned char bytes[4096];
    static ssize_t count, next;
    if (next == count) {
        struct pollfd ready = {.fd = in, .events = POLLIN};
        flush();
        if (ended || poll(&ready, 1, wait) <= 0)
            return -1;
        next = 0;
        count = read(in, bytes, sizeof bytes);
        if (count <= 0) {
            count = 0;
            ended = true;
            return -1;
        }
    }
    return bytes[next++];
}

int device_get(void)
{
    return receive(0);
}

uint64_t device_cycles(void)
{
    return engine_host_elapsed;
}

uint32_t device_clock(void)
{
    return clock_hz;
}

static uint32_t rate = 115200;

uint32_t device_baud(void)
{
    return rate;
}

void device_set_baud(uint32_t baud)
{
    rate = baud;
}

/* What a board would show: on stderr, where it is asked for. */
void device_show_error(bool on)
{
    static bool shown;
    if (pins && on != shown)
        fprintf(stderr, "error %d\n", on);
    shown = on;
}

bool device_has_timestamp(void)
{
    return pins;
}

void device_set_timestamp(bool high)
{
    engine_host_elapsed += high ? 0 : clock_hz / 100000; /* nothing else would end a pulse */
    if (pins)
        fprintf(stderr, "timestamp %d\n", high);
}

/* Serves until the other side leaves. */
static void serve(void)
{
    for (ended = false; !ended;) {
        protocol_idle();
        int c = receive(-1);
        if (c >= 0)
            protocol_receive(c);
    }
    flush();
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void serve_tcp(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("tcp");
    printf("uart: tcp 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    out = -1;
    for (;;) {
        in = out = accept(listener, NULL, NULL);
        if (in < 0)
            die("tcp");
        serve();
        close(in);
        in = out = -1;
    }
}

static void serve_pty(void)
{
    struct termios raw;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        die("pty");
    /* Kept open, so that the terminal stays when a client leaves. */
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0 || tcgetattr(slave, &raw))
        die("pty");
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    printf("uart: pty %s\n", ptsname(master));
    fflush(stdout);
    in = out = master;
    serve();
}

int main(int argc, char **argv)
{
    const char *answers = NULL;
    long port = -1;
    bool pty = false;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--pty")) {
            pty = true;
            continue;
        }
        if (!strcmp(argv[i], "--pins")) {
            pins = true;
            continue;
        }
        if (!value) {
            fprintf(stderr, "%s: unknown option %s, or its value is missing\n", argv[0], argv[i]);
            return 2;
        }
        if (!strcmp(argv[i], "--answers"))
            answers = value;
        else if (!strcmp(argv[i], "--port"))
            port = strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--clock"))
            clock_hz = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--cycles"))
            engine_host_cycles = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--hash"))
            engine_host_hash = (uint32_t)strtoul(value, NULL, 16);
        else if (!strcmp(argv[i], "--fail"))
            engine_host_fail = (uint32_t)strtoul(value, NULL, 10);
        else {
            fprintf(stderr, "%s: unknown option %s\n", argv[0], argv[i]);
            return 2;
        }
        i++;
    }
    if (answers && !engine_host_load(answers))
        die(answers);
    protocol_start();
    if (port >= 0)
        serve_tcp((uint16_t)port);
    else if (pty)
        serve_pty();
    else
        serve();
    return 0;
}
