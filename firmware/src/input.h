/* From the payload of the db commands to the accelerator's input. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>

/* Puts the input where the accelerator reads it, converting elements whose width differs on the wire. Answers false
 * after printing an error where an element lies outside the input's type. The payload stays for the next infer. */
bool input_load(void);

#endif
