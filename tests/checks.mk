# Tests and checks; the Makefile includes this.

# The unit tests and the sanitized program use the system's C library and compiler.
TEST_CC    = gcc
SAN        = -fsanitize=address,undefined -fno-sanitize-recover=undefined
T          = $(B)/test
S          = $(B)/san
UNITS      = $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))
LIB_MODS   = $(MODULES)
TEST_FLAGS = -std=c11 $(WARN) -Werror $(CPPFLAGS) -g -O1 -fno-omit-frame-pointer

$(T)/%.o: src/%.c $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) -MMD -MP -c -o $@ $<
$(S)/%.o: src/%.c $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -MMD -MP -c -o $@ $<
$(T)/anchors.o $(S)/anchors.o: $(B)/anchors.c
	@mkdir -p $(@D)
	$(TEST_CC) $(TEST_FLAGS) -c -o $@ $<
$(T)/main.o $(S)/main.o: CPPFLAGS += -DDNPROXY_VERSION='"$(VERSION)"' -DDNPROXY_BUILD_EPOCH=$(SOURCE_DATE_EPOCH)

$(T)/test_%.t: tests/unit/test_%.c $(LIB_MODS:%=$(T)/%.o) $(T)/anchors.o $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) -Itests/unit -MMD -MP -o $@ $(filter %.c %.o %.a,$^) -lcmocka
$(S)/test_%.t: tests/unit/test_%.c $(LIB_MODS:%=$(S)/%.o) $(S)/anchors.o $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -Itests/unit -MMD -MP -o $@ $(filter %.c %.o %.a,$^) -lcmocka
$(S)/dnproxy: $(LIB_MODS:%=$(S)/%.o) $(S)/anchors.o $(S)/main.o $(BEARSSL_LIB)
	$(TEST_CC) $(TEST_FLAGS) $(SAN) -o $@ $(filter %.o %.a,$^)

PROVE = CMOCKA_MESSAGE_OUTPUT=TAP prove -e ''

test-unit: $(UNITS:%=$(T)/test_%.t)
	$(PROVE) $^
test-san: $(UNITS:%=$(S)/test_%.t)
	$(PROVE) $^

.PHONY: test-unit test-san
-include $(wildcard $(T)/*.d $(S)/*.d)
