/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <linux/smc.h>
#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>

#include "smcd/netlink/view.h"

/*
 * Interfaces as the kernel would list them, made by hand: who stands on whom, in which VLAN and on
 * which network.
 */
static struct view v;
static char why[VIEW_WHY];

static void add_link(int ifindex, const char *name, const char *kind, int below, int master, int vlan)
{
	struct rtnl_link *link = rtnl_link_alloc();

	assert_non_null(link);
	rtnl_link_set_ifindex(link, ifindex);
	rtnl_link_set_name(link, name);
	if (kind)
		assert_int_equal(rtnl_link_set_type(link, kind), 0);
	if (vlan)
		assert_int_equal(rtnl_link_vlan_set_id(link, (uint16_t)vlan), 0);
	if (below)
		rtnl_link_set_link(link, below);
	if (master)
		rtnl_link_set_master(link, master);
	assert_int_equal(nl_cache_add(v.links, (struct nl_object *)link), 0);
	rtnl_link_put(link);
}

static int setup(void **state)
{
	v = (struct view){ .sysfs = "/nonexistent", .pnet_table = true };
	assert_int_equal(nl_cache_alloc_name("route/link", &v.links), 0);
	add_link(1, "lo", NULL, 0, 0, 0);
	add_link(2, "eth0", NULL, 0, 0, 0);
	add_link(3, "eth0.100", "vlan", 2, 0, 100);
	add_link(4, "mv0", "macvlan", 3, 0, 0);
	add_link(5, "ipv0", "ipvlan", 4, 0, 0);
	add_link(6, "qinq", "vlan", 3, 0, 7);
	add_link(7, "veth0", "veth", 3, 0, 0); /* its peer, not what it stands on */
	add_link(8, "br0", "bridge", 0, 0, 0);
	add_link(9, "eth1", NULL, 0, 8, 0);
	add_link(10, "eth1.200", "vlan", 9, 8, 200);
	add_link(11, "br1", "bridge", 0, 0, 0);
	add_link(12, "eth2.1", "vlan", 2, 11, 1);
	add_link(13, "eth2.2", "vlan", 2, 11, 2);
	add_link(14, "bond0", "bond", 0, 0, 0);
	add_link(15, "s0", "vlan", 2, 14, 55);
	add_link(16, "s1", "vlan", 9, 14, 55);
	add_link(17, "loop", "macvlan", 18, 0, 0);
	add_link(18, "pool", "macvlan", 17, 0, 0);
	add_link(19, "tun", "vxlan", 3, 0, 0);
	add_link(20, "lost", "macvlan", 999, 0, 0);
	return 0;
}

static int teardown(void **state)
{
	view_close(&v);
	return 0;
}

static void expect_vlan(const char *name, int vlan)
{
	uint16_t id = 9;

	if (view_vlan(&v, name, &id, why) != 0 || id != vlan)
		fail_msg("%s: %u, not %d (%s)", name, id, vlan, why);
}

static void expect_no_vlan(const char *name, int err, const char *word)
{
	uint16_t id = 9;
	int ret = view_vlan(&v, name, &id, why);

	assert_int_equal(id, 9);
	if (ret != err || !strstr(why, name) || !strstr(why, word))
		fail_msg("%s: %d, '%s'", name, ret, why);
}

static void test_vlan(void **state)
{
	expect_vlan("eth0.100", 100);
	expect_vlan("mv0", 100);
	expect_vlan("ipv0", 100);
	expect_vlan("qinq", 7); /* the outermost is the route's */
	expect_vlan("br0", 200);
	expect_vlan("bond0", 55);
	expect_no_vlan("eth0", -ENOENT, "no VLAN");
	expect_no_vlan("lo", -ENOENT, "no VLAN");
	expect_no_vlan("veth0", -ENOENT, "no VLAN");
	expect_no_vlan("tun", -ENOENT, "no VLAN");
	expect_no_vlan("lost", -ENOENT, "no VLAN");
	expect_no_vlan("loop", -ENOENT, "no VLAN");
	expect_no_vlan("br1", -ENOTUNIQ, "several");
	expect_no_vlan("eth7", -ENODEV, "no network interface");
	expect_no_vlan("", -ENODEV, "no network interface");
}

/* Deeper than the kernel stacks them, nobody looks. */
static void test_depth(void **state)
{
	char name[16];

	add_link(100, "deep0", "macvlan", 3, 0, 0);
	for (int i = 1; i < 20; i++) {
		snprintf(name, sizeof(name), "deep%d", i);
		add_link(100 + i, name, "macvlan", 99 + i, 0, 0);
	}
	expect_vlan("deep6", 100);
	expect_no_vlan("deep19", -ENOENT, "no VLAN");
}

/* An index of another namespace names nothing here. */
static void test_other_namespace(void **state)
{
	struct rtnl_link *link = rtnl_link_alloc();

	rtnl_link_set_ifindex(link, 50);
	rtnl_link_set_name(link, "moved");
	assert_int_equal(rtnl_link_set_type(link, "macvlan"), 0);
	rtnl_link_set_link(link, 3);
	assert_int_equal(rtnl_link_set_link_netnsid(link, 1), 0);
	assert_int_equal(nl_cache_add(v.links, (struct nl_object *)link), 0);
	rtnl_link_put(link);
	expect_no_vlan("moved", -ENOENT, "no VLAN");
}

/* ---- PNETIDs --------------------------------------------------------------------------------- */

static void add_pnet(const char *id, const char *eth, const char *ib)
{
	struct nl_msg *msg = nlmsg_alloc();

	genlmsg_put(msg, 0, 0, 30, 0, 0, SMC_PNETID_GET, 1);
	if (id)
		nla_put_string(msg, SMC_PNETID_NAME, id);
	if (eth)
		nla_put_string(msg, SMC_PNETID_ETHNAME, eth);
	if (ib)
		nla_put_string(msg, SMC_PNETID_IBNAME, ib);
	assert_int_equal(view_pnet_add(&v, nlmsg_hdr(msg)), 0);
	nlmsg_free(msg);
}

static void expect_pnetid(const char *name, const char *want)
{
	char id[VIEW_PNETID_LEN + 1] = "-";

	if (view_pnetid(&v, name, id, why) != 0 || strcmp(id, want) != 0)
		fail_msg("%s: %s, not %s (%s)", name, id, want, why);
}

static void expect_no_pnetid(const char *name, int err, const char *word)
{
	char id[VIEW_PNETID_LEN + 1] = "-";
	int ret = view_pnetid(&v, name, id, why);

	assert_string_equal(id, "-");
	if (ret != err || !strstr(why, name) || !strstr(why, word))
		fail_msg("%s: %d, '%s'", name, ret, why);
}

static void test_table(void **state)
{
	add_pnet("NET0", "eth0", "n/a");
	add_pnet("NET1", "eth1", NULL);
	add_pnet("BR1NET", "br1", NULL);
	add_pnet("ISMNET", "n/a", "ism1");
	add_pnet("NONAME", NULL, "ism2");
	add_pnet(NULL, "lo", NULL);
	add_pnet("", "lo", NULL);
	add_pnet("SEVENTEENLETTERSX", "lo", NULL);
	add_pnet("NET2", "interface-too-long", NULL);
	expect_pnetid("eth0", "NET0");
	expect_pnetid("eth0.100", "NET0");
	expect_pnetid("ipv0", "NET0");
	expect_pnetid("br1", "BR1NET"); /* its own comes first */
	expect_pnetid("br0", "NET1");
	expect_no_pnetid("lo", -ENOENT, "smc_pnet");
	expect_no_pnetid("bond0", -ENOTUNIQ, "several");
	expect_no_pnetid("eth9", -ENODEV, "no network interface");
}

static void test_no_table(void **state)
{
	v.pnet_table = false;
	expect_no_pnetid("eth0", -ENOENT, "not loaded");
}

static void put_file(const char *root, const char *path, const void *data, size_t len)
{
	char full[256], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static void remove_all(const char *root)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
}

/* NETA in EBCDIC for port 0, net2 for port 1, then one without and one that is no name. */
static const unsigned char utility[64] =
	"\xd5\xc5\xe3\xc1\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40"
	"\x95\x85\xa3\xf2\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40"
	"\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40"
	"\xd5\x60\xd5\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40";

static void test_hardware(void **state)
{
	char root[] = "/tmp/smcdu-sysfs.XXXXXX", id[VIEW_PNETID_LEN + 1] = "-";

	assert_non_null(mkdtemp(root));
	v.sysfs = root;
	add_pnet("TABLE", "eth0", NULL);
	expect_pnetid("eth0", "TABLE");
	put_file(root, "class/net/eth0/device/util_string", utility, 64);
	expect_pnetid("eth0", "NETA"); /* the table cannot override it */
	expect_pnetid("eth0.100", "NETA");
	put_file(root, "class/net/eth0/dev_port", "1\n", 2);
	expect_pnetid("eth0", "NET2");
	put_file(root, "class/net/eth0/dev_port", "2\n", 2);
	expect_pnetid("eth0", "TABLE");
	put_file(root, "class/net/eth0/dev_port", "3\n", 2);
	assert_false(view_pnet_hardware(root, "eth0", id));
	put_file(root, "class/net/eth0/dev_port", "4\n", 2);
	assert_false(view_pnet_hardware(root, "eth0", id));
	put_file(root, "class/net/eth0/dev_port", "0\n", 2);
	put_file(root, "class/net/eth0/device/util_string", utility, 63);
	assert_false(view_pnet_hardware(root, "eth0", id));
	assert_string_equal(id, "-");
	/* a channel device: through its first channel path */
	put_file(root, "class/net/eth1/device/chpid", "1B\n", 3);
	assert_false(view_pnet_hardware(root, "eth1", id));
	put_file(root, "devices/css0/chp0.1B/util_string", utility, 64);
	assert_true(view_pnet_hardware(root, "eth1", id));
	assert_string_equal(id, "NETA");
	remove_all(root);
}

/* All letters and digits of EBCDIC, and nothing else, are names. */
static void test_ebcdic(void **state)
{
	char root[] = "/tmp/smcdu-sysfs.XXXXXX", names[256] = "", id[VIEW_PNETID_LEN + 1];
	unsigned char text[64];
	size_t n = 0;

	assert_non_null(mkdtemp(root));
	for (int c = 1; c < 256; c++) {
		memset(text, 0x40, sizeof(text));
		text[0] = (unsigned char)c;
		put_file(root, "class/net/x/device/util_string", text, sizeof(text));
		if (view_pnet_hardware(root, "x", id)) {
			assert_int_equal(strlen(id), 1);
			names[n++] = id[0];
		}
	}
	assert_string_equal(names, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	remove_all(root);
}

/* The machine that the test runs on: whatever it has, it can be listed. */
static void test_this_machine(void **state)
{
	struct view real;
	uint16_t vlan;

	if (view_open(&real, why) < 0) {
		print_message("no netlink here: %s\n", why);
		skip();
	}
	assert_true(view_find(&real, "lo", why) > 0);
	assert_int_equal(view_vlan(&real, "lo", &vlan, why), -ENOENT);
	view_close(&real);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_namespace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hardware, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ebcdic, setup, teardown),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
