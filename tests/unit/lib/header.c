/* SPDX-License-Identifier: MIT */
/* The public header stands alone, in C and in C++, and its library links. */
#include "smcd-user.h"

int main(void)
{
	struct smcdu_settings s;

	smcdu_default_settings(&s);
	return s.connect_timeout_ms == 5000 && smcdu_version()[0] == '0' ? 0 : 1;
}
