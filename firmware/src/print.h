/* Text on the serial line. */
#ifndef PRINT_H
#define PRINT_H

/* %s string, %u uint32_t, %d int32_t, %x uint32_t as eight hexadecimal digits, %b uint32_t as two, %t uint64_t of
 * thousandths as a decimal with three places. Everything else stands for itself. */
void print(const char *format, ...);

#endif
