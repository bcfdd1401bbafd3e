#include "input.h"

#include "device.h"
#include "print.h"

#if !MODEL_INPUT_AS_SENT

static uint32_t wire_bits(uint32_t index)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < MODEL_WIRE_SIZE; i++)
        bits |= (uint32_t)device_memory[MODEL_WIRE_SIZE * index + i] << 8 * i;
    return bits;
}

#if MODEL_INPUT_OFFSET != 0

static void store(uint32_t index, int32_t value)
{
    volatile uint8_t *p = device_memory + MODEL_INPUT_OFFSET + MODEL_INPUT_SIZE * index;
    p[0] = (uint8_t)value;
#if MODEL_INPUT_SIZE == 2
    p[1] = (uint8_t)(value >> 8);
#endif
}

#endif

#endif

#if MODEL_WIRE_REALS

enum { FRACTION_BITS = 23, EXPONENTS = 0xff, INFINITE = 0x7f800000 };
enum { HALF = 126, INTEGERS = 150 }; /* exponents of numbers from 1/2 and from 2**23 on */

struct real input_real(uint32_t index)
{
    uint32_t bits = wire_bits(index), exponent = bits >> FRACTION_BITS & EXPONENTS;
    uint32_t fraction = bits & ((UINT32_C(1) << FRACTION_BITS) - 1);
    if (exponent)
        fraction |= UINT32_C(1) << FRACTION_BITS;
    else
        exponent = 1;
    return (struct real){(int32_t)fraction, (int32_t)exponent - INTEGERS, bits >> 31};
}

/* Divides by the scale in float32 and rounds to the nearest integer, halves away from zero, as TFLite's QUANTIZE does. */
static int32_t quantized(uint32_t bits)
{
    union {
        uint32_t bits;
        float real;
    } quotient = {.bits = bits};
    quotient.real /= MODEL_INPUT_SCALE;
    uint32_t exponent = quotient.bits >> FRACTION_BITS & EXPONENTS;
    uint32_t fraction = (quotient.bits & ((UINT32_C(1) << FRACTION_BITS) - 1)) | UINT32_C(1) << FRACTION_BITS;
    int32_t whole = 0;
    if (exponent >= INTEGERS)
        whole = 1 << FRACTION_BITS; /* beyond every input */
    else if (exponent >= HALF)
        whole = (int32_t)((fraction + (UINT32_C(1) << (INTEGERS - 1 - exponent))) >> (INTEGERS - exponent));
    whole = (quotient.bits >> 31 ? -whole : whole) + MODEL_INPUT_ZERO_POINT;
    return whole < MODEL_INPUT_LOWEST ? MODEL_INPUT_LOWEST : whole > MODEL_INPUT_HIGHEST ? MODEL_INPUT_HIGHEST : whole;
}

bool input_load(void)
{
    for (uint32_t i = 0; i < MODEL_INPUT_ELEMENTS; i++) {
        uint32_t bits = wire_bits(i);
        if ((bits & INT32_MAX) > INFINITE) {
            print("e-[Input element %u is not a number]\r\n", i);
            return false;
        }
        store(i, quantized(bits));
    }
    return true;
}

#elif MODEL_INPUT_AS_SENT

bool input_load(void)
{
    return true;
}

#else

static int32_t number(uint32_t index)
{
    uint32_t bits = wire_bits(index);
#if MODEL_WIRE_SIZE == 1
    return MODEL_WIRE_SIGNED ? (int8_t)bits : (int32_t)bits;
#else
    return MODEL_WIRE_SIGNED ? (int16_t)bits : (int32_t)bits;
#endif
}

bool input_load(void)
{
    for (uint32_t i = 0; i < MODEL_INPUT_ELEMENTS; i++) {
        int32_t value = number(i);
        if (value < MODEL_INPUT_LOWEST || value > MODEL_INPUT_HIGHEST ||
            (value - MODEL_INPUT_LOWEST) % MODEL_INPUT_STEP) {
            print("e-[Input element %u is %d, not %s]\r\n", i, value, MODEL_INPUT_RANGE);
            return false;
        }
#if MODEL_INPUT_OFFSET != 0
        store(i, value);
#endif
    }
    return true;
}

#endif
