# Tests and checks; the Makefile includes this.

# Debian's Python, whatever else is first in PATH.  The tests wait more than they work: six at a time.
PYTEST    = PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider -n 6
PROVE     = CMOCKA_MESSAGE_OUTPUT=TAP prove -e ''
JOBS     ?= $(shell nproc)
FUZZ_TIME = 60

deps:
	@tests/deps.sh all
deps-build:
	@tests/deps.sh build

# First everything is built, then one part runs after the other: the end-to-end tests last, because
# they are the longest and their summary says the most.
test:
	@$(MAKE) --no-print-directory -s -j$(JOBS) test-programs
	@$(MAKE) --no-print-directory -s -j1 test-static test-unit test-san fuzz-replay test-repro test-faults test-e2e

# ---- Three builds beside the static one -----------------------------------------------------------
# They use the system's C library, and no PIE because BearSSL was not built for one: build/test for unit tests and valgrind, build/san with gcc's address
# and undefined-behaviour sanitizers, build/fuzz with clang's fuzzer.
T          = $(B)/test
S          = $(B)/san
F          = $(B)/fuzz
TEST_CC    = gcc
FUZZ_CC    = clang
SAN        = -fsanitize=address,undefined -fno-sanitize-recover=undefined
TEST_FLAGS = -fno-lto -std=c11 $(WARN) -Werror $(CPPFLAGS) -g -O1 -fno-omit-frame-pointer -MMD -MP
FUZZ_FLAGS = $(TEST_FLAGS:-fno-lto=) $(SAN) -fsanitize=fuzzer-no-link
UNITS      = $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))
FUZZERS    = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
PARTS      = $(MODULES) anchors

$(T)/%.o: src/%.c $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) -c -o $@ $<
$(S)/%.o: src/%.c $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -c -o $@ $<
$(F)/%.o: src/%.c $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -c -o $@ $<
$(T)/anchors.o $(S)/anchors.o $(F)/anchors.o: $(SHARED)/anchors.c
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) -c -o $@ $<
$(T)/main.o $(S)/main.o: CPPFLAGS += $(MAIN_DEFS)

$(T)/test_%.t: tests/unit/test_%.c $(PARTS:%=$(T)/%.o) $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) -Itests/unit -no-pie -o $@ $(filter %.c %.o %.a,$^) -lcmocka
$(S)/test_%.t: tests/unit/test_%.c $(PARTS:%=$(S)/%.o) $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -Itests/unit -no-pie -o $@ $(filter %.c %.o %.a,$^) -lcmocka
# The simulation brings its own network and chance (tests/unit/fake_net.h).
SIM_LESS   = net entropy udp tcp loop start supervisor health
$(T)/test_sim.t: tests/unit/test_sim.c $(filter-out $(SIM_LESS:%=$(T)/%.o),$(PARTS:%=$(T)/%.o)) $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) -Itests/unit -no-pie -o $@ $(filter %.c %.o %.a,$^) -lcmocka
$(S)/test_sim.t: tests/unit/test_sim.c $(filter-out $(SIM_LESS:%=$(S)/%.o),$(PARTS:%=$(S)/%.o)) $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -Itests/unit -no-pie -o $@ $(filter %.c %.o %.a,$^) -lcmocka
$(T)/dnproxy: $(PARTS:%=$(T)/%.o) $(T)/main.o $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) -no-pie -o $@ $(filter %.o %.a,$^)
$(S)/dnproxy: $(PARTS:%=$(S)/%.o) $(S)/main.o $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -no-pie -o $@ $(filter %.o %.a,$^)

# A fuzz target with the fuzzer, and the same target with a main() that only replays its corpus.
$(F)/fuzz_%: tests/fuzz/fuzz_%.c $(PARTS:%=$(F)/%.o) $(BEARSSL_LIB)
	$(FUZZ_CC) $(FUZZ_FLAGS) -Wno-missing-prototypes -fsanitize=fuzzer -no-pie -o $@ $(filter %.c %.o %.a,$^)
$(S)/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(PARTS:%=$(S)/%.o) $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) -Wno-missing-prototypes $(SAN) -no-pie -o $@ $(filter %.c %.o %.a,$^)

.PRECIOUS: $(T)/%.o $(S)/%.o $(F)/%.o
-include $(wildcard $(T)/*.d $(S)/*.d $(F)/*.d)

# ---- Tests ----------------------------------------------------------------------------------------

test-programs: $(B)/dnproxy $(T)/dnproxy $(UNITS:%=$(T)/test_%.t) $(UNITS:%=$(S)/test_%.t) $(FUZZERS:%=$(S)/replay_%)

test-static: $(B)/dnproxy
	$(PROVE) tests/static.sh :: $(B)/dnproxy $(OBJ)
test-unit: $(UNITS:%=$(T)/test_%.t)
	$(PROVE) -j $(JOBS) $^
test-san: $(UNITS:%=$(S)/test_%.t)
	$(PROVE) -j $(JOBS) $^
# The simulation alone, as long as you like, and with another seed.
HOURS     ?= 24
sim: $(T)/test_sim.t
	DNPROXY_SIM_HOURS=$(HOURS) $(if $(SEED),DNPROXY_SIM_SEED=$(SEED)) $<
test-repro: $(B)/dnproxy
	$(PROVE) tests/repro.sh :: $(B)/dnproxy $(wildcard $(SHARED)/$(BEARSSL_TAR))

# Some tests stand between the program and its clock, which takes the dynamic one.
E2E = DNPROXY=$(abspath $<) DNPROXY_DYNAMIC=$(abspath $(T)/dnproxy) $(PYTEST)
# TESTS='tests/e2e/test_udp.py ...' runs these alone.
TESTS = tests/e2e
test-e2e: $(B)/dnproxy $(T)/dnproxy
	$(E2E) $(TESTS)
test-e2e-san: $(S)/dnproxy $(T)/dnproxy
	$(E2E) $(TESTS)
# Faults of networks and servers, and how long they are felt.  LONG=1: as long as they are in life.
test-faults: $(B)/dnproxy
	DNPROXY=$(abspath $<) LONG=$(LONG) $(PYTEST) tests/faults
test-valgrind: $(T)/dnproxy
	DNPROXY=$(abspath $<) DNPROXY_WRAP='valgrind -q --error-exitcode=99 --leak-check=full' \
		$(PYTEST) -m valgrind $(TESTS)

demo: $(B)/dnproxy
	@DNPROXY=$(abspath $<) tests/demo.sh

# ---- Fuzzing: tests/fuzz/corpus is kept, what a run finds new stays in build/fuzz/corpus ---------

fuzz: $(FUZZERS:%=fuzz-%)
$(FUZZERS:%=fuzz-%): fuzz-%: $(F)/fuzz_%
	@mkdir -p $(F)/corpus/fuzz_$*
	@$< -max_total_time=$(FUZZ_TIME) -timeout=5 -rss_limit_mb=1024 -verbosity=1 -artifact_prefix=$(F)/$*- \
		$(patsubst %,-dict=%,$(wildcard tests/fuzz/fuzz_$*.dict)) $(F)/corpus/fuzz_$* \
		$(wildcard tests/fuzz/corpus/fuzz_$*) >$<.log 2>&1 || { tail -n 60 $<.log; exit 1; }
	@sed -n 's/^Done/fuzz $*: nothing found in/p' $<.log

fuzz-replay: $(FUZZERS:%=replay-%)
$(FUZZERS:%=replay-%): replay-%: $(S)/replay_%
	@$< tests/fuzz/corpus/fuzz_$* >$<.log 2>&1 || { tail -n 40 $<.log; exit 1; }
	@sed -n 's/^ok 1 - //p' $<.log

# ---- Size and speed -------------------------------------------------------------------------------

# EACH=1 shows every file of BearSSL.
size: $(B)/dnproxy $(B)/dnproxy.unstripped
	@tests/size.sh $^ $(SIZE_MAX) $(EACH)

BENCH_TOOLS = $(patsubst %,$(B)/bench/%,responder client relay limit crowd)
BENCH_FLAGS = --program $(B)/dnproxy --tools $(B)/bench --json $(B)/bench.json $(if $(QUICK),--quick)
BENCH_PRINT = /usr/bin/python3 -B tests/bench/report.py $(B)/bench.json
$(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(TEST_CC) -std=c11 $(WARN) -Werror -D_GNU_SOURCE -O2 -g -o $@ $< -lssl -lcrypto
# Takes 20 minutes, with QUICK=1 three.  ONLY='dnproxy unbound limit' measures these, SPEED=1
# leaves recovery out.  PUBLISH=1: the chart and the table of
# the README come from this run.
bench: $(B)/dnproxy $(BENCH_TOOLS)
	@/usr/bin/python3 -B tests/bench/bench.py $(BENCH_FLAGS) $(ONLY:%=--only %)
	$(if $(SPEED),,@/usr/bin/python3 -B tests/bench/recovery.py $(BENCH_FLAGS) $(patsubst %,--only %,$(filter-out limit,$(ONLY))))
	@$(MAKE) --no-print-directory -s bench-chart $(if $(PUBLISH),bench-publish)
# Where the cost comes from, each on its own; BEFORE=path measures another dnproxy beside this one.
MORE_FLAGS = --tools $(B)/bench $(if $(QUICK),--quick)
BOTH_FLAGS = $(MORE_FLAGS) $(if $(BEFORE),--program $(BEFORE)) --program $(B)/dnproxy
bench-syscalls: $(B)/dnproxy $(BENCH_TOOLS)
	@/usr/bin/python3 -B tests/bench/syscalls.py $(BOTH_FLAGS)
bench-tcp: $(B)/dnproxy $(BENCH_TOOLS)
	@/usr/bin/python3 -B tests/bench/tcp_scale.py $(BOTH_FLAGS)
bench-profile: $(B)/dnproxy.unstripped $(BENCH_TOOLS)
	@/usr/bin/python3 -B tests/bench/profile.py $(MORE_FLAGS) --program $<
bench-chart:
	@$(BENCH_PRINT) --chart $(B)/bench.svg
bench-publish: bench-chart
	@cp $(B)/bench.svg doc/bench.svg
	@$(BENCH_PRINT) --markdown

# What the cache forgets, compared with LRU and others; its model test with millions of operations.
$(B)/bench/cache_hits: tests/bench/cache_hits.c src/cache.c src/dns.c src/text.c tests/bench/zipf.h
	@mkdir -p $(@D)
	$(TEST_CC) -std=c11 $(WARN) -Werror $(CPPFLAGS) -O2 -g -o $@ $(filter %.c,$^) -lm
cache-hits: $(B)/bench/cache_hits
	@$<
cache-model: $(S)/test_cache.t
	CACHE_OPERATIONS=10000000 $<

# ---- Lint -----------------------------------------------------------------------------------------

LINT_FLAGS  = -std=c11 $(WARN) $(CPPFLAGS) -isystem $(BEARSSL_DIR)/inc -Itests/unit $(MAIN_DEFS)
LINT_SRC    = $(wildcard src/*.c tests/unit/*.c tests/fuzz/*.c tests/bench/*.c tests/cross/*.c tests/scaling/*.c)
LINT_SCRIPT = $(wildcard tests/*.sh tests/*/*.sh deploy/*/*.sh .ci/run)

LINT_PARTS  = lint-format lint-layers lint-house lint-shell lint-man lint-cppcheck lint-analyzer lint-tidy lint-musl

lint: $(BEARSSL_DIR)/inc/bearssl.h
	@$(MAKE) --no-print-directory -s -k -O -j$(JOBS) $(LINT_PARTS)
	@echo "lint: nothing to complain about"

lint-format:
	clang-format --dry-run -Werror $(LINT_SRC) $(wildcard include/*.h tests/unit/*.h)
# The build that ships, with warnings as errors.
lint-musl:
	for f in $(wildcard src/*.c); do $(CC) $(ALL_CFLAGS) $(MAIN_DEFS) -Werror -fsyntax-only $$f || exit 1; done
lint-layers:
	tests/lint/layers.sh
lint-house:
	tests/lint/house.sh
lint-shell:
	shellcheck $(LINT_SCRIPT)
lint-man:
	mandoc -T lint -W warning $(wildcard doc/*.8)
lint-cppcheck:
	cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr --suppressions-list=tests/lint/cppcheck.txt \
		--enable=warning,performance,portability -j$(JOBS) -Iinclude $(MAIN_DEFS) $(wildcard src/*.c)

# gcc's analyzer and clang-tidy take a while: one target a file, so that they run side by side.
# The further warnings would be too noisy, or unknown to other compilers, in every build.
LINT_WARN   = -Werror -Wlogical-op -Wduplicated-cond -Wcast-align=strict -Wcast-qual -Wpointer-arith -Wundef \
	      -Wwrite-strings -Wformat=2 -Wformat-signedness -Wnull-dereference -Wredundant-decls
lint-analyzer: $(patsubst %,analyze-%,$(wildcard src/*.c))
$(patsubst %,analyze-%,$(wildcard src/*.c)): analyze-%: %
	$(TEST_CC) $(LINT_FLAGS) $(LINT_WARN) -O1 -fanalyzer -c -o /dev/null $<
lint-tidy: $(LINT_SRC:%=tidy-%)
$(LINT_SRC:%=tidy-%): tidy-%: %
	out=$$(clang-tidy --quiet $< -- $(LINT_FLAGS) 2>&1) || { echo "$$out"; exit 1; }

.PHONY: deps deps-build test test-programs test-static test-unit test-san sim test-repro test-e2e test-e2e-san test-faults \
	test-valgrind demo fuzz fuzz-replay $(FUZZERS:%=fuzz-%) $(FUZZERS:%=replay-%) size bench bench-chart bench-publish \
	bench-syscalls bench-tcp bench-profile \
	cache-hits cache-model lint $(LINT_PARTS)
