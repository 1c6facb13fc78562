/*
 * compiler - included before every source file (-include): which C functions may not be used, and shorthand for
 * compiler attributes. Not a place for types or declarations of the program.
 *
 * A use of a poisoned function is a compile error, so review never has to look for one.
 */
#ifndef ATSYNC_BASE_COMPILER_H
#define ATSYNC_BASE_COMPILER_H

/* System headers mention the poisoned names in their own declarations: read those first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ATS_SENTINEL __attribute__((sentinel))
#define ATS_MUSTCHECK __attribute__((warn_unused_result))
#define ATS_NORETURN __attribute__((noreturn))
#define ATS_NONNULL __attribute__((returns_nonnull))
#define ATS_UNUSED __attribute__((unused))

#define ATS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#ifndef ATSYNC_NO_POISON
/* under clang, glibc's _FORTIFY_SOURCE makes macros of these, and a macro must not be poisoned */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat gets strtok atoi atol atoll atof
#endif

#endif
