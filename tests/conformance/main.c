/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ism_double.h"
#include "suite.h"
#include "vfio/attached.h"
#include "vfio/base/log.h"
#include "vfio/user/client.h"

int provider_vfio_user(struct provider *p, const char *socket)
{
	const struct vu_client_params params = { .path = socket };

	return vu_client_open(&params, &p->dev);
}

int provider_attached(struct provider *p, const char *socket)
{
	const struct vu_client_params params = { .path = socket };
	struct vfio_device *below;
	int r = vu_client_open(&params, &below);

	p->attached = true;
	return r ? r : vfio_attached_open(below, &p->dev);
}

int provider_double(struct provider *p, unsigned int index, unsigned int max, enum vfio_way way)
{
	const struct ism_double_params params = {
		.kind = index ? ISM_DOUBLE_REGION : ISM_DOUBLE_BARS,
		.functions = 1,
		.region_index = index,
		.way = way,
	};
	struct fabric *fabric;
	int r;

	if ((index && index < VFIO_DEV_REGION_FIXED) || index > 64 || max < 64)
		return -EINVAL;
	p->process_memory = true;
	p->is_double = true;
	r = ism_double_start(&params, &fabric);
	if (r == 0)
		r = knob_set(&fabric->knobs, KNOB_max_store, max);
	return r ? r : ism_double_open(0, &p->dev);
}

static int open_provider(struct provider *p, const char *spec)
{
	const enum vfio_way way = strstr(spec, ",cdev") ? VFIO_WAY_CDEV : VFIO_WAY_GROUP;
	unsigned int index = VFIO_DEV_REGION_FIXED, max = 4096;

	if (!strcmp(spec, "double") || sscanf(spec, "double:%u:%u", &index, &max) == 2)
		return provider_double(p, index, max, way);
	if (!strcmp(spec, "bars") || sscanf(spec, "bars:%u", &max) == 1)
		return provider_double(p, 0, max, way);
	if (!strncmp(spec, "vfio-user:", 10))
		return provider_vfio_user(p, spec + 10);
	if (!strncmp(spec, "attached:", 9))
		return provider_attached(p, spec + 9);
	return -EINVAL;
}

static void usage(FILE *out)
{
	fputs("usage: smcd-conformance --provider PROVIDER\n"
	      "Checks a server of the zPCI I/O region against the rules of the region.\n\n"
	      "  --provider double[:INDEX:MAX]  the built-in double: number of the region (9),\n"
	      "                                 longest store (4096)\n"
	      "  --provider bars[:MAX]          the same with ism-vfio-pci's BARs and no region;\n"
	      "                                 both are opened by group, with ',cdev' behind by\n"
	      "                                 device node and iommufd\n"
	      "  --provider vfio-user:SOCKET    a function served on a vfio-user socket\n"
	      "  --provider attached:SOCKET     the same, its DMB written by the attached transport\n",
		out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "provider", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct provider p = { 0 };
	const char *spec = NULL;
	int opt, r;

	log_init("smcd-conformance", LOG_LEVEL_INFO);
	while ((opt = getopt_long(argc, argv, "p:h", options, NULL)) != -1) {
		if (opt != 'p') {
			usage(opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
		spec = optarg;
	}
	if (!spec || optind < argc) {
		usage(stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = open_provider(&p, spec);
	if (r == 0) {
		r = suite_run(&p);
		vfio_device_close(p.dev);
	}
	if (p.is_double && ism_double_stop() < 0)
		puts("# descriptors or maps were left behind");
	if (r < 0)
		printf("Bail out! %s: %s\n", spec, strerror(-r));
	return r != 0;
}
