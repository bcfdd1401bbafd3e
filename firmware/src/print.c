#include "print.h"

#include <stdarg.h>
#include <stdint.h>

#include "device.h"

static void decimal(uint64_t value)
{
    char digits[20];
    uint32_t n = 0;
    /* 64-bit divisions are library calls of hundreds of cycles: only while they are needed. */
    for (; value > UINT32_MAX; value /= 10)
        digits[n++] = (char)('0' + value % 10);
    uint32_t low = (uint32_t)value;
    do
        digits[n++] = (char)('0' + low % 10);
    while (low /= 10);
    while (n)
        device_put(digits[--n]);
}

static void hexadecimal(uint32_t value, int digits)
{
    while (digits--)
        device_put("0123456789abcdef"[value >> 4 * digits & 15]);
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (format[0] == 'e' && format[1] == '-') /* an error of the protocol, and no other line begins so */
        device_show_error(true);
    for (; *format; format++) {
        if (*format != '%') {
            device_put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(arguments, const char *); *s; s++)
                device_put(*s);
            break;
        case 'u':
            decimal(va_arg(arguments, uint32_t));
            break;
        case 'd': {
            int32_t value = va_arg(arguments, int32_t);
            if (value < 0)
                device_put('-');
            decimal(value < 0 ? 0 - (uint32_t)value : (uint32_t)value);
            break;
        }
        case 'x':
            hexadecimal(va_arg(arguments, uint32_t), 8);
            break;
        case 'b':
            hexadecimal(va_arg(arguments, uint32_t), 2);
            break;
        case 't': {
            uint64_t value = va_arg(arguments, uint64_t);
            uint32_t places = (uint32_t)(value % 1000);
            decimal(value / 1000);
            device_put('.');
            device_put((char)('0' + places / 100));
            device_put((char)('0' + places / 10 % 10));
            device_put((char)('0' + places % 10));
            break;
        }
        default:
            device_put(*format);
        }
    }
    va_end(arguments);
}
