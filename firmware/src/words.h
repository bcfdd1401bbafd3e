/* Words of a command. */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool equal(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return *a == *b;
}

/* Reads a decimal number; one that is too large is the largest. Answers whether there was one and nothing else. */
static inline bool number(const char *text, uint32_t *value)
{
    uint64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (uint32_t)(*text - '0');
        if (n > UINT32_MAX)
            n = UINT32_MAX;
    }
    *value = (uint32_t)n;
    return true;
}

#endif
