#include "head.h"

#include "device.h"
#include "input.h"

#if defined(HEAD_ARGMAX)

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    int32_t winner = device_output(0);
    for (int32_t c = 0; c < MODEL_RESULTS; c++)
        numbers[c] = c == winner ? 1000 : 0;
}

#elif !defined(HEAD_SOFTMAX_INT8)

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

#if MODEL_WIRE_REALS

/* A number of the payload with HEAD_SHIFT fractional bits, rounded half up; those beyond the reach count as that far. */
static int64_t input(uint32_t index)
{
    const int64_t reach = (int64_t)1 << (HEAD_SHIFT + HEAD_REACH_BITS);
    struct real number = input_real(index);
    int64_t value = number.negative ? -number.fraction : number.fraction;
    int shift = number.exponent + HEAD_SHIFT;
    if (number.exponent + 23 >= HEAD_REACH_BITS && number.fraction >> 23) /* at least 2**HEAD_REACH_BITS, or infinite */
        return number.negative ? -reach : reach;
    if (shift >= 0)
        return value * ((int64_t)1 << shift);
    return shift < -25 ? 0 : (value + ((int64_t)1 << (-shift - 1))) >> -shift;
}

#else

static const int64_t input_multiplier[] = HEAD_INPUT_MULTIPLIER;
static const int64_t input_bias[] = HEAD_INPUT_BIAS;

/* An input element, as the accelerator reads it, with HEAD_SHIFT fractional bits. */
static int64_t input(uint32_t index)
{
    const volatile uint8_t *p = device_memory + MODEL_INPUT_OFFSET + MODEL_INPUT_SIZE * index;
    uint32_t channel = index % (sizeof input_multiplier / sizeof input_multiplier[0]);
#if MODEL_INPUT_SIZE == 1
    int32_t value = MODEL_INPUT_LOWEST < 0 ? (int8_t)p[0] : p[0];
#else
    uint16_t half_word = (uint16_t)(p[0] | p[1] << 8);
    int32_t value = MODEL_INPUT_LOWEST < 0 ? (int16_t)half_word : half_word;
#endif
    return input_multiplier[channel] * value + input_bias[channel];
}

#endif

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    const int drop = HEAD_SHIFT - HEAD_ERROR_BITS;
    const uint64_t scale = (uint64_t)MODEL_OUTPUT_ELEMENTS << 2 * HEAD_ERROR_BITS;
    uint64_t total = 0;
    for (uint32_t i = 0; i < MODEL_OUTPUT_ELEMENTS; i++) {
        int64_t error = (fixed(i) - input(i) + ((int64_t)1 << (drop - 1))) >> drop;
        total += (uint64_t)(error * error);
    }
    numbers[0] = total / scale * 1000 + (total % scale * 1000 + scale / 2) / scale;
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

#elif defined(HEAD_SOFTMAX_INT8)

/* As accel/graph/softmax.py: fixed point of 32 bits with 0 (Q0), 2 (Q2) or 5 (Q5) bits before the point. */
enum { FRACTION = 26, SUM_BITS = 12, OUTPUT_BITS = 8 };

/* exp(-2**i) for i = -2 to 4, Q0. */
static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};

/* a * b / 2**31 to the nearest, halves up. */
static int32_t high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* x / 2**bits to the nearest, halves away from zero. */
static int32_t half_away(int64_t x, int bits)
{
    int64_t half = ((int64_t)1 << bits) >> 1;
    return (int32_t)(x >= 0 ? (x + half) >> bits : -((half - x) >> bits));
}

static int32_t saturated(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* exp(x), Q0, of x in Q5 that is not positive. */
static int32_t exponential(int32_t x)
{
    const int32_t eighth = 1895147668, third = 715827883, quarter = 1 << (FRACTION - 2);
    if (x == 0)
        return INT32_MAX;
    int32_t rest = (x & (quarter - 1)) - quarter;
    int32_t a = rest * 32 + (1 << 28);
    int32_t square = high(a, a), cube = high(square, a), fourth = high(square, square);
    int32_t series = half_away(high(half_away(fourth, 2) + cube, third) + square, 1);
    int32_t result = eighth + high(eighth, a + series);
    for (uint32_t i = 0; i < sizeof powers / sizeof powers[0]; i++)
        if ((rest - x) >> (FRACTION - 2 + i) & 1)
            result = high(result, powers[i]);
    return result;
}

/* 1 / (1 + x), Q0, of x in Q0. */
static int32_t reciprocal(int32_t x)
{
    int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t guess = 1515870810 + high(half, -1010580540); /* 48/17 - 32/17 * half, Q2 */
    for (int i = 0; i < 3; i++) {
        int32_t error = (1 << 29) - high(half, guess);
        guess += saturated((int64_t)high(guess, error) * 4);
    }
    return saturated((int64_t)guess * 2);
}

/* The class weighs nothing, or exp(distance), Q0. */
static int32_t weight(int32_t distance)
{
    if (distance < HEAD_LOWEST)
        return -1;
    return exponential(high(distance * (int32_t)(UINT32_C(1) << HEAD_SHIFT), HEAD_MULTIPLIER));
}

void head_thousandths(uint64_t numbers[MODEL_RESULTS])
{
    int32_t top = device_output(0), total = 0;
    for (uint32_t c = 1; c < MODEL_RESULTS; c++)
        if (device_output(c) > top)
            top = device_output(c);
    for (uint32_t c = 0; c < MODEL_RESULTS; c++) {
        int32_t power = weight(device_output(c) - top);
        total += power < 0 ? 0 : half_away(power, SUM_BITS);
    }
    int headroom = 0;
    while (!((uint32_t)total << headroom & UINT32_C(0x80000000)))
        headroom++;
    int32_t scale = reciprocal((int32_t)(((uint32_t)total << headroom) - UINT32_C(0x80000000)));
    int drop = SUM_BITS - headroom + 31 - OUTPUT_BITS;
    for (uint32_t c = 0; c < MODEL_RESULTS; c++) {
        int32_t power = weight(device_output(c) - top);
        int32_t steps = power < 0 ? 0 : half_away(high(scale, power), drop);
        numbers[c] = ((uint64_t)(steps > 255 ? 255 : steps) * 1000 + 128) >> 8;
    }
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
