/* From the payload of the db commands to the accelerator's input. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stdint.h>

/* Puts the input where the accelerator reads it, converting elements whose width differs on the wire and quantizing
 * float32 numbers. Answers false after printing an error where an element lies outside the input's type or is not a
 * number. The payload stays for the next infer. */
bool input_load(void);

/* fraction * 2**exponent, of a wire of float32 numbers (not of infinity). */
struct real {
    int32_t fraction, exponent;
    bool negative;
};

struct real input_real(uint32_t index);

#endif
