# The native plugins. Included by the Makefile, and usable alone: make -f .../native.mk native
#
# native            build/native/greylisting, ifauthskip and jgreylist
# native-sanitized  the same in build/native-asan/, under AddressSanitizer and UBSan
# native-fuzzer     build/native-fuzz/fuzz_greylisting and fuzz_jgreylist
# native-fuzz       run each of them for FUZZ_SECONDS
#
# What is compiled in: NATIVE_SOCKET, NATIVE_HANDOVER, NATIVE_ONESHOT and NATIVE_JGREYLIST_ONESHOT
# (paths), NATIVE_BUDGET_MS (the time for one question), NATIVE_FALLBACK (of greylisting; 0: without
# an answer let the mail in; 1: execute the one-shot).

NATIVE_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
NATIVE_TESTS := $(NATIVE_DIR)/../../../tests/native
NATIVE_PROGRAMS := greylisting ifauthskip jgreylist
NATIVE_FUZZED := greylisting jgreylist
NATIVE_HANDOVER ?= $(if $(NATIVE_SOCKET),$(dir $(NATIVE_SOCKET))handover.sock)
NATIVE_OUT ?= build/native
NATIVE_SANITIZED_OUT ?= build/native-asan
NATIVE_FUZZ_OUT ?= build/native-fuzz
FUZZ_SECONDS ?= 60

# musl first: a static program of it starts in half the time of one of glibc.
NATIVE_COMPILERS := "musl-gcc -static" "cc -static" "cc"
NATIVE_CC ?= $(shell probe=$$(mktemp) && for compiler in $(NATIVE_COMPILERS); do \
	echo 'int main(void) { return 0; }' | $$compiler -x c -o "$$probe" - 2>/dev/null && \
	"$$probe" && echo "$$compiler" && break; done; rm -f "$$probe")
NATIVE_WARNINGS := -Wall -Wextra -Werror -Wconversion -Wshadow -Wformat=2
NATIVE_CFLAGS := -std=c11 -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
NATIVE_SANITIZERS := -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
NATIVE_DEFINES = $(if $(NATIVE_SOCKET),-DSOCKET_PATH='"$(NATIVE_SOCKET)"') \
	$(if $(NATIVE_HANDOVER),-DHANDOVER_PATH='"$(NATIVE_HANDOVER)"') \
	$(if $(NATIVE_JGREYLIST_ONESHOT),-DJGREYLIST_ONESHOT_PATH='"$(NATIVE_JGREYLIST_ONESHOT)"') \
	$(if $(NATIVE_ONESHOT),-DONESHOT_PATH='"$(NATIVE_ONESHOT)"') \
	$(if $(NATIVE_BUDGET_MS),-DBUDGET_MS=$(NATIVE_BUDGET_MS)) \
	$(if $(NATIVE_FALLBACK),-DFALLBACK=$(NATIVE_FALLBACK))

# Built always, because the paths may have changed, and renamed into place, so that a plugin in
# use is never missing or half written. $(1) is the compiler with its flags, $(2) the folder.
define native-build
	@set -e; compiler='$(strip $(1))'; mkdir -p $(2); \
	test -n "$$compiler" || { echo "no C compiler: apt-get install gcc musl-tools" >&2; exit 1; }; \
	for program in $(NATIVE_PROGRAMS); do \
		$$compiler $(NATIVE_WARNINGS) $(NATIVE_DEFINES) $(NATIVE_EXTRA) \
			-o $(2)/$$program.new $(NATIVE_DIR)/$$program.c; \
		mv -f $(2)/$$program.new $(2)/$$program; \
	done
endef

.PHONY: native native-sanitized native-fuzzer native-fuzz

native:
	$(call native-build,$(NATIVE_CC) $(NATIVE_CFLAGS),$(NATIVE_OUT))

native-sanitized:
	$(call native-build,cc -std=c11 $(NATIVE_SANITIZERS),$(NATIVE_SANITIZED_OUT))

# libFuzzer comes with clang; without it the program only goes through the files it is given.
native-fuzzer:
	@set -e; mkdir -p $(NATIVE_FUZZ_OUT); out=$(NATIVE_FUZZ_OUT); \
	flags='-std=c11 $(NATIVE_SANITIZERS) $(NATIVE_WARNINGS) -I$(NATIVE_DIR)'; \
	empty='int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }'; \
	for program in $(NATIVE_FUZZED); do \
		rm -f $$out/fuzz_$$program $$out/replay_$$program; \
		source=$(NATIVE_TESTS)/fuzz_$$program.c; \
		if echo "$$empty" | clang -fsanitize=fuzzer -x c -o $$out/probe - 2>/dev/null; then \
			clang $$flags -fsanitize=fuzzer -o $$out/fuzz_$$program $$source; \
		else \
			cc $$flags -DREPLAY -o $$out/replay_$$program $$source; \
		fi; \
	done; rm -f $$out/probe

native-fuzz: native-fuzzer
	@set -e; out=$(NATIVE_FUZZ_OUT); \
	for program in $(NATIVE_FUZZED); do \
		seeds=$(NATIVE_TESTS)/corpus/$$program; mkdir -p $$out/corpus/$$program; \
		if test -x $$out/replay_$$program; then \
			echo "no libFuzzer (apt-get install clang libclang-rt-14-dev): only the seeds run"; \
			$$out/replay_$$program $$seeds/*; \
		else \
			$$out/fuzz_$$program -max_total_time=$(FUZZ_SECONDS) -max_len=20000 -timeout=5 \
				-print_final_stats=1 -artifact_prefix=$$out/ $$out/corpus/$$program $$seeds; \
		fi; \
	done
