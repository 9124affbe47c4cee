/* SPDX-License-Identifier: MIT */
/* Counts what a program executes under qemu-user, as a plugin of it (qemu-mips -plugin count.so,out=FILE): at each
 * system call a line with its number, the instructions so far, and the multiplications and divisions among them
 * (MIPS only).  QEMU's header is not packaged, so what is used of its interface, version 1, stands here. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info {
	const char *target_name; /* more follows */
};

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *counter,
						     uint64_t add);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(uint64_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, void (*cb)(uint64_t, unsigned, int64_t, uint64_t,
									 uint64_t, uint64_t, uint64_t, uint64_t,
									 uint64_t, uint64_t, uint64_t));
int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);

#define EXPORT __attribute__((visibility("default")))
#define ADD_U64 0

EXPORT int qemu_plugin_version = 1;

static uint64_t instructions, products;
static FILE *out;
static int big_endian, is_mips;

/* MULT, MULTU, DIV, DIVU; MADD, MADDU, MUL, MSUB, MSUBU. */
static int
multiplies(const uint8_t *p)
{
	uint32_t word = big_endian ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
				   : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
	uint32_t op = word >> 26, function = word & 63u;

	return (op == 0 && function >= 0x18 && function <= 0x1b) || (op == 0x1c && function <= 5);
}

static void
on_block(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), product = 0;

	(void)id;
	for (size_t i = 0; is_mips && i < n; i++)
		product += (size_t)multiplies(qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)));
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &instructions, n);
	if (product > 0)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &products, product);
}

static void
on_call(uint64_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
	uint64_t f, uint64_t g, uint64_t h)
{
	(void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
	fprintf(out, "%lld %llu %llu\n", (long long)number, (unsigned long long)instructions,
		(unsigned long long)products);
	fflush(out);
}

EXPORT int
qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	is_mips = strncmp(info->target_name, "mips", 4) == 0;
	big_endian = strcmp(info->target_name, "mips") == 0;
	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "out=", 4) == 0)
			out = fopen(argv[i] + 4, "w");
	if (out == NULL)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
	qemu_plugin_register_vcpu_syscall_cb(id, on_call);
	return 0;
}
