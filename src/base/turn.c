/* turn.c -- the turn of each thread's loop. See turn.h. */
#include "base/turn.h"

_Thread_local struct turn turn_of_thread;
