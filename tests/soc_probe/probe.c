/* A firmware for tests of the SoC: reads, writes, and times inferences, as the other end of the UART says.
 * A command is a letter and two little-endian words; the answer is a word. Letters: see main. */
#include <generated/csr.h>
#include <generated/mem.h>
#include <generated/soc.h>
#include <stdint.h>

#define WORD(address) (*(volatile uint32_t *)(address))
#define REGISTER(offset) WORD(ACCELERATOR_BASE + (offset))
enum { START = 0x08, STATUS = 0x0c, CLEAR = 0x14, IRQ_ENABLE = 0x20 };
enum { BUSY = 1 };

__asm__(".section .text.start\n"
        ".global _start\n"
        "_start:\n"
        "  la sp, _stack_end\n"
        "  la t0, interrupted\n"
        "  csrw mtvec, t0\n"
        "  la t0, _bss_start\n"
        "  la t1, _bss_end\n"
        "0: bgeu t0, t1, 1f\n"
        "  sw zero, 0(t0)\n"
        "  addi t0, t0, 4\n"
        "  j 0b\n"
        "1: call main\n");

static volatile uint32_t interrupts;

__attribute__((interrupt("machine"), aligned(4), used)) void interrupted(void)
{
    timer0_uptime_latch_write(1);
    REGISTER(CLEAR) = 1;
    interrupts++;
}

static uint32_t now(void)
{
    timer0_uptime_latch_write(1);
    return (uint32_t)timer0_uptime_cycles_read();
}

/* Cycles from just before the start to just after its end is known. Done twice: the first time fills the cache. */
__attribute__((noinline, aligned(32))) static uint32_t polled(uint32_t hash)
{
    uint32_t cycles = 0;
    for (int twice = 0; twice < 2; twice++) {
        timer0_uptime_latch_write(1);
        REGISTER(START) = hash;
        uint32_t begin = (uint32_t)timer0_uptime_cycles_read();
        while (REGISTER(STATUS) & BUSY)
            ;
        cycles = now() - begin;
    }
    return cycles;
}

/* The same, where the end is the pending interrupt, seen in the CPU, which takes no access to the bus. */
__attribute__((noinline, aligned(32))) static uint32_t watched(uint32_t hash)
{
    uint32_t cycles = 0, pending;
    REGISTER(CLEAR) = 1;
    __asm__ volatile("csrw 0xbc0, %0" : : "r"(1u << ACCELERATOR_INTERRUPT));
    REGISTER(IRQ_ENABLE) = 1;
    for (int twice = 0; twice < 2; twice++) {
        timer0_uptime_latch_write(1);
        REGISTER(START) = hash;
        uint32_t begin = (uint32_t)timer0_uptime_cycles_read();
        do
            __asm__ volatile("csrr %0, 0xfc0" : "=r"(pending));
        while (!pending);
        cycles = now() - begin;
        REGISTER(CLEAR) = 1;
    }
    REGISTER(IRQ_ENABLE) = 0;
    return cycles;
}

/* The same, where the end is known when the interrupt handler begins. */
__attribute__((noinline, aligned(32))) static uint32_t interrupting(uint32_t hash)
{
    uint32_t cycles = 0;
    REGISTER(CLEAR) = 1;
    __asm__ volatile("csrw 0xbc0, %0" : : "r"(1u << ACCELERATOR_INTERRUPT));
    __asm__ volatile("csrs mie, %0" : : "r"(1 << 11));
    __asm__ volatile("csrsi mstatus, 8");
    REGISTER(IRQ_ENABLE) = 1;
    for (int twice = 0; twice < 2; twice++) {
        uint32_t before = interrupts;
        timer0_uptime_latch_write(1);
        REGISTER(START) = hash;
        uint32_t begin = (uint32_t)timer0_uptime_cycles_read();
        while (interrupts == before)
            ;
        cycles = (uint32_t)timer0_uptime_cycles_read() - begin;
    }
    REGISTER(IRQ_ENABLE) = 0;
    __asm__ volatile("csrci mstatus, 8");
    return cycles;
}

static uint8_t get(void)
{
    while (uart_rxempty_read())
        ;
    uint8_t byte = (uint8_t)uart_rxtx_read();
    uart_ev_pending_write(2); /* takes it out of the FIFO */
    return byte;
}

static void put(uint8_t byte)
{
    while (uart_txfull_read())
        ;
    uart_rxtx_write(byte);
}

static uint32_t get_word(void)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)get() << 8 * i;
    return word;
}

int main(void)
{
    put('!');
    for (;;) {
        uint8_t command = get();
        uint32_t a = get_word(), b = get_word(), answer = 0;
        switch (command) {
        case 'r': answer = WORD(a); break;
        case 'w': WORD(a) = b; break;
        case 't': answer = now(); break;
        case 'p': answer = polled(a); break;
        case 'v': answer = watched(a); break;
        case 'i': answer = interrupting(a); break;
        case 'n': answer = interrupts; break;
        case 's': REGISTER(START) = a; REGISTER(START) = b; answer = REGISTER(STATUS); break;
        case 'x': for (uint32_t i = 0; i < a; i++) put((uint8_t)i); break;
        }
        for (int i = 0; i < 4; i++)
            put((uint8_t)(answer >> 8 * i));
    }
}
