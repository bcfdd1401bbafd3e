#include "head.h"

#include "device.h"

#if defined(HEAD_ARGMAX)

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    int32_t winner = device_output(0);
    for (int32_t c = 0; c < MODEL_RESULTS; c++)
        numbers[c] = c == winner ? 1000 : 0;
}

#else

static const int64_t multiplier[] = HEAD_MULTIPLIER;
static const int64_t bias[] = HEAD_BIAS;

/* The real value of an output element (times log2(e) for softmax) with HEAD_SHIFT fractional bits. */
static int64_t fixed(uint32_t index)
{
    uint32_t channel = index % (sizeof multiplier / sizeof multiplier[0]);
    return multiplier[channel] * device_output(index) + bias[channel];
}

#endif

#if defined(HEAD_MSE)

/* An input element as the accelerator reads it. */
static int32_t input(uint32_t index)
{
    const volatile uint8_t *p = device_memory + MODEL_INPUT_OFFSET + MODEL_INPUT_SIZE * index;
#if MODEL_INPUT_SIZE == 1
    return MODEL_INPUT_LOWEST < 0 ? (int8_t)p[0] : p[0];
#else
    uint16_t half_word = (uint16_t)(p[0] | p[1] << 8);
    return MODEL_INPUT_LOWEST < 0 ? (int16_t)half_word : half_word;
#endif
}

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    const int drop = HEAD_SHIFT - HEAD_ERROR_BITS;
    const uint64_t scale = (uint64_t)MODEL_OUTPUT_ELEMENTS << 2 * HEAD_ERROR_BITS;
    uint64_t total = 0;
    for (uint32_t i = 0; i < MODEL_OUTPUT_ELEMENTS; i++) {
        int64_t x = HEAD_INPUT_MULTIPLIER * input(i) + HEAD_INPUT_BIAS;
        int64_t error = (fixed(i) - x + ((int64_t)1 << (drop - 1))) >> drop;
        total += (uint64_t)(error * error);
    }
    numbers[0] = (total * 1000 + scale / 2) / scale;
}

#elif defined(HEAD_SOFTMAX) || defined(HEAD_SCORES)

/* The first of the largest elements, and the smallest value. */
static uint32_t winner(int64_t *largest, int64_t *smallest)
{
    uint32_t first = 0;
    *largest = *smallest = fixed(0);
    for (uint32_t c = 1; c < MODEL_RESULTS; c++) {
        int64_t value = fixed(c);
        if (value > *largest) {
            *largest = value;
            first = c;
        }
        if (value < *smallest)
            *smallest = value;
    }
    return first;
}

/* The winner prints at least one thousandth more than any other. */
static void let_win(uint64_t numbers[MODEL_RESULTS], uint32_t first)
{
    for (uint32_t c = 0; c < MODEL_RESULTS; c++)
        if (c != first && numbers[c] >= numbers[first])
            numbers[first] = numbers[c] + 1;
}

#endif

#if defined(HEAD_SOFTMAX)

/* 2**32 times the square root of one half, its square root, and so on: one factor for each fractional bit. */
static const uint32_t roots[] = {
    0xb504f334, 0xd744fccb, 0xeac0c6e8, 0xf5257d15, 0xfa83b2db, 0xfd3e0c0d, 0xfe9e115c, 0xff4ecb59,
    0xffa75652, 0xffd3a752, 0xffe9d2b3, 0xfff4e91c, 0xfffa747f, 0xfffd3a3b, 0xfffe9d1d, 0xffff4e8e,
    0xffffa747, 0xffffd3a3, 0xffffe9d2, 0xfffff4e9, 0xfffffa74, 0xfffffd3a, 0xfffffe9d, 0xffffff4f,
};

/* 2**31 * 2**-(distance / 2**HEAD_SHIFT) */
static uint64_t power(uint64_t distance)
{
    uint64_t whole = distance >> HEAD_SHIFT;
    if (whole > 31)
        return 0;
    uint64_t y = (uint64_t)1 << 31;
    for (uint32_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (distance >> (HEAD_SHIFT - 1 - i) & 1)
            y = y * roots[i] >> 32;
    return y >> whole;
}

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    int64_t largest, smallest;
    uint32_t first = winner(&largest, &smallest);
    uint64_t total = 0;
    for (uint32_t c = 0; c < MODEL_RESULTS; c++)
        total += numbers[c] = power((uint64_t)(largest - fixed(c)));
    for (uint32_t c = 0; c < MODEL_RESULTS; c++)
        numbers[c] = (numbers[c] * 2000 + total) / (2 * total);
    let_win(numbers, first);
}

#elif defined(HEAD_SCORES)

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    const uint64_t mask = ((uint64_t)1 << HEAD_SHIFT) - 1, half = (uint64_t)1 << (HEAD_SHIFT - 1);
    int64_t largest, smallest;
    uint32_t first = winner(&largest, &smallest);
    if (smallest > 0)
        smallest = 0;
    for (uint32_t c = 0; c < MODEL_RESULTS; c++) {
        uint64_t value = (uint64_t)(fixed(c) - smallest);
        numbers[c] = (value >> HEAD_SHIFT) * 1000 + (((value & mask) * 1000 + half) >> HEAD_SHIFT);
    }
    let_win(numbers, first);
}

#endif
