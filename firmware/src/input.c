#include "input.h"

#include "device.h"
#include "print.h"

#if MODEL_INPUT_AS_SENT

bool input_load(void)
{
    return true;
}

#else

static int32_t number(uint32_t index)
{
    const volatile uint8_t *p = device_memory + MODEL_WIRE_SIZE * index;
#if MODEL_WIRE_SIZE == 1
    return MODEL_WIRE_SIGNED ? (int8_t)p[0] : p[0];
#else
    uint16_t half_word = (uint16_t)(p[0] | p[1] << 8);
    return MODEL_WIRE_SIGNED ? (int16_t)half_word : half_word;
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
        volatile uint8_t *p = device_memory + MODEL_INPUT_OFFSET + MODEL_INPUT_SIZE * i;
        p[0] = (uint8_t)value;
#if MODEL_INPUT_SIZE == 2
        p[1] = (uint8_t)(value >> 8);
#endif
#endif
    }
    return true;
}

#endif
