/* What a compiler may call without being asked to. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    char *t = to;
    for (const char *f = from; n; n--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t n)
{
    for (char *t = to; n; n--)
        *t++ = (char)value;
    return to;
}
