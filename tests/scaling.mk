# A cluster in network namespaces: four instances behind the kernel's load balancing, and one that fails.

SCALING_TOOLS = $(B)/bench/responder $(B)/bench/stub
SCALING_ENV   = DNPROXY=$(abspath $<) BENCH_TOOLS=$(abspath $(B)/bench) PYTHONDONTWRITEBYTECODE=1

$(B)/bench/stub: tests/scaling/stub.c
	@mkdir -p $(@D)
	$(TEST_CC) -std=c11 $(WARN) -Werror -D_GNU_SOURCE -O2 -g -o $@ $< -lresolv -pthread
# The real cache, so many of them, and questions by chance: what splitting it costs.
$(B)/bench/cache_split: tests/scaling/cache_split.c src/cache.c src/dns.c src/text.c tests/bench/zipf.h
	@mkdir -p $(@D)
	$(TEST_CC) -std=c11 $(WARN) -Werror $(CPPFLAGS) -O2 -g -o $@ $(filter %.c,$^) -lm

# What is lost, and in what order things have to happen; seconds.
test-scaling: $(B)/dnproxy $(SCALING_TOOLS)
	$(SCALING_ENV) $(PYTEST) -n 8 tests/scaling
# How long failures are felt, with the waiting times of Kubernetes; four minutes.
scaling: $(B)/dnproxy $(SCALING_TOOLS)
	@$(SCALING_ENV) /usr/bin/python3 tests/scaling/simulate.py --json $(B)/scaling.json
cache-split: $(B)/bench/cache_split
	@$<

.PHONY: scaling test-scaling cache-split
