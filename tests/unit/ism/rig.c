/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfio/attached.h"
#include "vfio/user/client.h"

struct rig rig = { .params = { .functions = NFUNC } };
struct side side[NFUNC];

static char dir[sizeof("/tmp/ism-fabric-XXXXXX")];

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	struct side *s = ctx;

	s->dmb = dmb;
	s->signals++;
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	struct side *s = ctx;

	if (s->nev < 64)
		s->ev[s->nev++] = *ev;
}

static void on_overrun(void *ctx)
{
	((struct side *)ctx)->overruns++;
}

static const struct ism_handler handler = { .dmb = on_dmb, .event = on_event,
	.overrun = on_overrun };

static int open_device(int n, struct vfio_device **vdev)
{
	struct vu_client_params client;
	struct vfio_device *below = NULL;
	char path[64];
	int r;

	if (!rig.program)
		return ism_double_open((unsigned int)n, vdev);
	snprintf(path, sizeof(path), "%s/ism%d.sock", dir, n);
	client = (struct vu_client_params){ .path = path, .timeout_ms = 20000 };
	r = vu_client_open(&client, &below);
	if (r < 0 || !rig.attached) {
		*vdev = below;
		return r;
	}
	return vfio_attached_open(below, vdev);
}

int rig_open(int n)
{
	struct ism_params params = { .handler = &handler, .ctx = &side[n], .name = "test",
		.map_dmbs = rig.attached };
	struct vfio_device *vdev;
	struct zpci *z;
	int r;

	side[n] = (struct side){ 0 };
	r = open_device(n, &vdev);
	if (r == 0)
		r = zpci_open(vdev, &z);
	if (r == 0)
		r = ism_open(z, &params, &side[n].dev);
	return r;
}

/* The fabric announces itself by a line of output, once its sockets listen. */
static int start_fabric(void)
{
	int out[2];
	char functions[8], line[256];
	ssize_t n;

	snprintf(functions, sizeof(functions), "%d", NFUNC);
	if (pipe(out) < 0)
		return -1;
	rig.fabric = fork();
	if (rig.fabric == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execl(rig.program, "ism-fabricd", "--functions", functions, "--dir",
			dir, NULL);
		_exit(127);
	}
	close(out[1]);
	n = read(out[0], line, sizeof(line)); /* end of file when it does not start */
	close(out[0]);
	return n > 0 ? 0 : -1;
}

void rig_end_fabric(int sig)
{
	if (rig.fabric <= 0)
		return;
	kill(rig.fabric, sig);
	waitpid(rig.fabric, NULL, 0);
	rig.fabric = -1;
}

int rig_teardown(void **state)
{
	char path[64];

	for (int i = 0; i < NFUNC; i++)
		side[i].dev = ism_close(side[i].dev);
	if (!rig.program)
		return ism_double_stop();
	rig_end_fabric(SIGTERM);
	for (int i = 0; i < NFUNC; i++) { /* left behind only by one that was killed */
		snprintf(path, sizeof(path), "%s/ism%d.sock", dir, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock", dir);
	unlink(path);
	return rmdir(dir);
}

int rig_setup(void **state)
{
	int r;

	memcpy(dir, "/tmp/ism-fabric-XXXXXX", sizeof(dir));
	if (rig.program && !mkdtemp(dir))
		return -1;
	r = rig.program ? start_fabric() : ism_double_start(&rig.params, &rig.model);
	for (int i = 0; i < NFUNC && r == 0; i++)
		r = rig_open(i);
	if (r < 0)
		rig_teardown(state);
	return r;
}

struct ism_dmb *reg(int owner, int writer)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(side[owner].dev, ism_gid(side[writer].dev), SIZE, NULL,
				 &dmb), 0);
	if (rig.attached && owner != writer) {
		assert_int_equal(ism_consent(side[owner].dev, ism_gid(side[writer].dev)), 0);
		ism_forget_peer(side[writer].dev, ism_gid(side[owner].dev));
		assert_int_equal(ism_map_dmb(side[writer].dev, ism_gid(side[owner].dev), dmb->token,
					 SIZE), 0);
	}
	return dmb;
}

int move1(int from, const struct ism_dmb *to, uint32_t offset, const void *data,
	uint32_t len, bool sf)
{
	const struct ism_move m = { .token = to->token, .offset = offset, .len = len,
		.data = data, .sf = sf };
	size_t done;

	return ism_move_data(side[from].dev, &m, 1, &done);
}

bool has_event(int n, uint32_t type, uint32_t code, uint64_t tok)
{
	for (unsigned int i = 0; i < side[n].nev; i++)
		if (side[n].ev[i].type == type && side[n].ev[i].code == code &&
			side[n].ev[i].tok == tok)
			return true;
	return false;
}

void rig_tell(const char *line)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl(rig.program, "ism-fabricd", "--dir", dir, "--command", line, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
