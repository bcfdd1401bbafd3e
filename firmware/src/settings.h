/* What the host may choose: the baud rate, and how timestamps are told. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>

void settings_baud(char *const argument[]); /* The commands baud and mode. */
void settings_mode(char *const argument[]);
void settings_apply(void);                  /* After a reply: a rate that was asked for is used from here on. */
bool settings_expired(void);                /* Answers whether a rate that nobody confirmed was taken back just now. */
bool settings_energy(void);                 /* Whether timestamps are edges of the pin. */
void settings_pulse(void);                  /* Such an edge. */

#endif
