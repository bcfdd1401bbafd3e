/* From the output's integers to what m-results prints. accel/graph/head.py explains the formulas, and is the same in
 * Python. */
#ifndef HEAD_H
#define HEAD_H

#include <stdint.h>

#include "model.h"

/* Writes the numbers of the last output, times 1000. */
void head_thousandths(uint64_t numbers[MODEL_RESULTS]);

#endif
