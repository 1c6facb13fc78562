# atsyncd: build, try, test, install. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

VERSION := $(shell cat packaging/VERSION)
ifeq ($(origin CC),default)
CC := gcc
endif
PKG_CONFIG ?= pkg-config

# ---- where things go -------------------------------------------------------------------------------------------
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
SBINDIR ?= $(PREFIX)/sbin
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

# ---- flavours: objects of different flavours never mix -----------------------------------------------------------
SANITIZER ?=
COVERAGE ?=
FAULTS ?=
ifeq ($(SANITIZER),)
FLAVOUR :=
else ifeq ($(SANITIZER),address)
FLAVOUR := /asan
FLAVOUR_FLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(SANITIZER),thread)
FLAVOUR := /tsan
FLAVOUR_FLAGS := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(SANITIZER),fuzzer)
# clang's libFuzzer: make fuzz
FLAVOUR := /fuzz
FLAVOUR_FLAGS := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
$(error SANITIZER must be address, thread or fuzzer, not "$(SANITIZER)")
endif
ifneq ($(COVERAGE),)
ifeq ($(SANITIZER),fuzzer)
# what the inputs of a fuzz target reach
FLAVOUR := /fuzz/coverage
FLAVOUR_FLAGS := -O1 -g -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping
else
FLAVOUR := /coverage
FLAVOUR_FLAGS := -O0 -g --coverage
endif
endif
# crashes at named points on demand (include/base/fault.h)
ifneq ($(FAULTS),)
FLAVOUR := $(FLAVOUR)/faults
FLAVOUR_FLAGS += $(if $(SANITIZER),,-O1 -g)
endif
BUILD := build$(FLAVOUR)
GEN := $(BUILD)/gen

# ---- flags: every one is tried once per compiler, what it does not know is left out -----------------------------
WARNINGS := -Wall -Wextra -Wpedantic -Wformat=2 -Wformat-signedness -Wconversion -Wsign-conversion -Wshadow -Wundef \
	-Wstrict-prototypes -Wold-style-definition -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wnull-dereference -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Walloca -Wvla -Wimplicit-fallthrough \
	-Wswitch-enum -Wdouble-promotion -Wtrampolines -Wbidi-chars=any -Wredundant-decls -Wjump-misses-init \
	-Wno-overlength-strings -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=format-security
# OpenSSF Compiler Options Hardening Guide for C and C++
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero \
	-fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fstrict-flex-arrays=3
HARDENING_LD := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,nodlopen -Wl,-z,separate-code -Wl,--as-needed

ifeq ($(FLAVOUR),)
FLAVOUR_FLAGS := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
FLAVOUR_LD := $(HARDENING_LD)
else
FLAVOUR_LD := -pie
endif
CFLAGS ?=
WERROR ?= $(if $(CI),-Werror)

PKGS := libcurl libcjson openssl libpq libmicrohttpd yaml-0.1
# libjq 1.6 (Debian 12) has no .pc file; newer ones have
JQ_LIBS = $(shell $(PKG_CONFIG) --libs libjq 2>/dev/null || echo -ljq)
LIBS = $(shell $(PKG_CONFIG) --libs $(PKGS)) $(JQ_LIBS) -lpthread -lm
ALL_CPPFLAGS = -D_GNU_SOURCE -DATSYNC_VERSION='"$(VERSION)"' -DATSYNC_SYSCONFDIR='"$(SYSCONFDIR)"' -DATSYNC_DATADIR='"$(DATADIR)"' \
	$(if $(FAULTS),-DATSYNC_FAULTS) -Iinclude -I$(GEN) -include base/compiler.h $(shell $(PKG_CONFIG) --cflags $(PKGS)) $(CPPFLAGS)
ALL_CFLAGS = -std=c11 -fPIE -pthread $(FLAVOUR_FLAGS) $(KNOWN_FLAGS) $(WERROR) $(CFLAGS)
ALL_LDFLAGS = $(FLAVOUR_FLAGS) -pthread $(FLAVOUR_LD) $(LDFLAGS)

# ---- sources: an explicit list, so that an orphan file is noticed (make lint) ------------------------------------
COMMON_SRCS := \
	$(addprefix src/base/,status.c mem.c buf.c recent.c address.c clock.c text.c suggest.c mask.c db_params.c decimal.c json_scan.c json_text.c log.c metrics.c admission.c) \
	$(addprefix src/lib/,json.c crypto.c yaml.c jqvm.c db.c listener.c half_open.c httpd.c httpc.c) \
	$(addprefix src/domain/,completion.c event.c signature.c run.c mapping.c plan.c ledger.c note.c outcome.c backoff.c breaker.c skew.c issue.c glance.c) \
	$(addprefix src/config/,file.c secret.c config.c config_keys.c config_types.c config_read.c config_check.c sealing.c) \
	$(addprefix src/connector/,popp_api.c meta.c fit.c module.c message.c remedy.c request.c auth.c step.c) \
	$(addprefix src/store/,store.c schema.c inquiry.c setup.c doctor.c held.c ingest.c queue.c load.c name_table.c record.c erase.c operate.c issues.c retention.c views.c activity.c tokens.c)
DAEMON_SRCS := src/main.c \
	$(addprefix src/service/,thread.c settings.c incoming.c ingest.c receiver.c dispatcher.c batch_memory.c in_work.c planning.c recorder.c lanes.c connector_states.c standing.c delivery.c tokens.c admin.c report.c page.c janitor.c app.c notify.c sdnotify.c completer.c overseer.c retention.c tally.c gate.c refusals.c lookup_cache.c)
CTL_SRCS := $(addprefix src/ctl/,main.c command.c advice.c print.c progress.c plan.c show.c operate.c migrate.c setup.c setup_secrets.c setup_server.c check.c check_clock.c check_permissions.c check_probe.c check_api.c doctor.c doctor_judge.c doctor_schema.c send_sample.c sample.c connectors.c connector_page.c connector_test.c rehearsal.c event_file.c import.c erase.c) $(addprefix src/service/,settings.c incoming.c)
# tests of connectors: a table of cases in TYPE.json for each
TABLE_SRCS := tests/unit/connector/table.c
TABLE_TESTS := $(patsubst %,tests/unit/connector/%_test.c,greenhouse lever ashby workable smartrecruiters bullhorn teamtailor recruitee jobadder merge kombo icims zoho-recruit bamboohr)
UNIT_TESTS := $(TABLE_TESTS) \
	$(addprefix tests/unit/base/,status_test.c address_test.c mem_test.c recent_test.c exhaustion_test.c buf_test.c clock_test.c text_test.c suggest_test.c mask_test.c db_params_test.c decimal_test.c json_scan_test.c json_text_test.c log_test.c metrics_test.c admission_test.c) \
	$(addprefix tests/unit/lib/,crypto_test.c yaml_test.c httpd_test.c httpc_test.c jqvm_test.c json_test.c) \
	$(addprefix tests/unit/domain/,completion_test.c signature_test.c mapping_test.c event_test.c run_test.c plan_test.c ledger_test.c note_test.c outcome_test.c outcome_doc_test.c glance_test.c backoff_test.c skew_test.c breaker_test.c issue_test.c property_test.c) \
	$(addprefix tests/unit/config/,secret_test.c config_test.c sealing_test.c) \
	$(addprefix tests/unit/connector/,message_test.c remedy_test.c notes_test.c meta_test.c request_test.c module_test.c auth_test.c step_test.c rest_test.c) \
	$(addprefix tests/unit/service/,incoming_test.c sdnotify_test.c ingest_test.c refusals_test.c tally_test.c gate_test.c lanes_test.c batch_memory_test.c lookup_cache_test.c recorder_test.c page_test.c) \
	$(addprefix tests/unit/ctl/,sample_test.c print_test.c progress_test.c advice_test.c setup_test.c doctor_test.c connector_page_test.c rehearsal_test.c event_file_test.c check_test.c)
CONTRACT_SRCS := tests/contract/requests.c
SANDBOX_SRCS := tests/lib/sandbox_ats.c
STUB_SRCS := tests/lib/stub_ats.c
HARNESS_SRCS := tests/lib/harness.c tests/lib/storekit.c tests/lib/ctlkit.c tests/lib/oauth_stub.c tests/lib/replica.c tests/lib/tls.c tests/lib/popp_stub.c tests/lib/crowd.c tests/lib/relay.c
DB_TESTS := $(addprefix tests/db/,db_test.c schema_test.c ingest_test.c queue_test.c held_test.c load_test.c name_table_test.c record_test.c views_test.c dashboard_test.c operate_test.c erase_test.c privacy_test.c issues_test.c plans_test.c retention_test.c inquiry_test.c tokens_test.c doctor_test.c)
E2E_TESTS := $(addprefix tests/e2e/,sandbox_test.c history_test.c secrets_test.c wipe_test.c outbound_test.c values_test.c receiver_test.c admin_test.c main_path_test.c faults_test.c breaker_test.c failover_test.c pgbouncer_test.c ctl_test.c ctl_data_test.c ctl_admin_test.c connectors_test.c auth_test.c issues_test.c logs_test.c reload_test.c completer_test.c retention_test.c attacks_test.c)
# the status page in a real browser
BROWSER_SRCS := tests/lib/browser.c
PAGE_TESTS := tests/page/page_test.c

PRELOAD_SRCS := tests/lib/clock_shift.c tests/lib/public_net.c tests/lib/leftovers.c
PRELOADS := $(PRELOAD_SRCS:tests/lib/%.c=$(BUILD)/%.so)
BENCH_SRCS := $(addprefix tests/bench/,load.c curl_ceiling.c claim.c)
CHAOS_TESTS := $(addprefix tests/chaos/,chaos.c backlog_test.c fault_points_test.c disk_full_test.c)
# a target each; what a target needs beside the library is named below
FUZZ_SRCS := $(addprefix tests/fuzz/,signature.c event.c story.c config.c connector.c answer.c json.c)
FUZZ_HELPER_SRCS := $(addprefix tests/fuzz/,replay.c calls.c)
# allocations that fail: every one of our own objects comes by there
EXHAUST_SRCS := tests/lib/exhaust.c
EXHAUST_LDFLAGS := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
COMMON_OBJS := $(COMMON_SRCS:%.c=$(BUILD)/%.o) $(GEN)/sql.o $(GEN)/migrations.o $(GEN)/golden.o
DAEMON_OBJS := $(DAEMON_SRCS:%.c=$(BUILD)/%.o) $(GEN)/page.o
CTL_OBJS := $(CTL_SRCS:%.c=$(BUILD)/%.o) $(GEN)/samples.o
SANDBOX_OBJS := $(SANDBOX_SRCS:%.c=$(BUILD)/%.o)
HARNESS_OBJS := $(HARNESS_SRCS:%.c=$(BUILD)/%.o)
UNIT_PROGRAMS := $(UNIT_TESTS:%.c=$(BUILD)/%)
DB_PROGRAMS := $(DB_TESTS:%.c=$(BUILD)/%)
E2E_PROGRAMS := $(E2E_TESTS:%.c=$(BUILD)/%)
CHAOS_PROGRAMS := $(CHAOS_TESTS:%.c=$(BUILD)/%)
BENCH_PROGRAMS := $(BENCH_SRCS:%.c=$(BUILD)/%)
FUZZ_PROGRAMS := $(FUZZ_SRCS:%.c=$(BUILD)/%)
PAGE_PROGRAMS := $(PAGE_TESTS:%.c=$(BUILD)/%)

PROGRAMS := $(BUILD)/atsyncd $(BUILD)/atsyncctl
.PHONY: all objects sandbox-ats stub-ats
all: $(PROGRAMS) ## build the daemon and atsyncctl
objects: $(COMMON_OBJS) $(DAEMON_OBJS) $(CTL_OBJS)
sandbox-ats: $(BUILD)/sandbox-ats
stub-ats: $(BUILD)/stub-ats

$(BUILD)/libatsync.a: $(COMMON_OBJS)
	@rm -f $@
	$(AR) qcs $@ $^
$(BUILD)/atsyncd: $(DAEMON_OBJS) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/atsyncctl: $(CTL_OBJS) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/sandbox-ats: $(SANDBOX_OBJS) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/stub-ats: $(STUB_SRCS:%.c=$(BUILD)/%.o) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# one program per unit test; TEST_LDFLAGS is where a test puts a --wrap of its own
$(UNIT_PROGRAMS): %: %.o $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) $(TEST_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS)
$(TABLE_TESTS:%.c=$(BUILD)/%) $(BUILD)/tests/unit/connector/notes_test: $(TABLE_SRCS:%.c=$(BUILD)/%.o)
$(BUILD)/tests/unit/base/exhaustion_test: private TEST_LDFLAGS := $(EXHAUST_LDFLAGS)
$(BUILD)/tests/unit/base/exhaustion_test: $(EXHAUST_SRCS:%.c=$(BUILD)/%.o)
$(BUILD)/tests/unit/base/log_test: private TEST_LDFLAGS := -Wl,--wrap=clock_mono_ms
$(BUILD)/tests/unit/lib/httpd_test: private TEST_LDFLAGS := -Wl,--wrap=MHD_is_feature_supported
$(BUILD)/tests/unit/domain/outcome_doc_test.o: private ALL_CPPFLAGS += -DTEST_SOURCE_DIR='"$(CURDIR)"'
# the library holds what both programs share; a test of something else names its objects
$(BUILD)/tests/unit/lib/httpd_test: $(BUILD)/tests/lib/tls.o
$(BUILD)/tests/unit/lib/httpd_test.o: private ALL_CPPFLAGS += -Itests
$(BUILD)/tests/unit/lib/httpc_test: $(BUILD)/tests/lib/public_net.o
$(BUILD)/tests/unit/service/incoming_test: $(BUILD)/src/service/incoming.o
$(BUILD)/tests/unit/service/refusals_test: $(BUILD)/src/service/refusals.o
$(BUILD)/tests/unit/service/sdnotify_test: $(BUILD)/src/service/sdnotify.o
$(BUILD)/tests/unit/service/ingest_test: $(BUILD)/src/service/ingest.o $(BUILD)/src/service/thread.o
$(BUILD)/tests/unit/service/tally_test: $(BUILD)/src/service/tally.o
$(BUILD)/tests/unit/service/gate_test: $(BUILD)/src/service/gate.o
$(BUILD)/tests/unit/service/lanes_test: $(BUILD)/src/service/lanes.o
$(BUILD)/tests/unit/service/batch_memory_test: $(BUILD)/src/service/batch_memory.o
$(BUILD)/tests/unit/service/lookup_cache_test: $(BUILD)/src/service/lookup_cache.o
$(BUILD)/tests/unit/service/recorder_test: $(addprefix $(BUILD)/src/service/,recorder.o lanes.o connector_states.o standing.o thread.o delivery.o tokens.o lookup_cache.o)
$(BUILD)/tests/unit/service/page_test: $(BUILD)/src/service/page.o $(GEN)/page.o
$(BUILD)/tests/unit/ctl/sample_test: $(BUILD)/src/ctl/sample.o $(GEN)/samples.o
$(BUILD)/tests/unit/ctl/event_file_test: $(BUILD)/src/ctl/event_file.o
$(BUILD)/tests/unit/ctl/print_test: $(BUILD)/src/ctl/print.o
$(BUILD)/tests/unit/ctl/progress_test: $(addprefix $(BUILD)/src/ctl/,progress.o print.o)
$(BUILD)/tests/unit/ctl/advice_test: $(BUILD)/src/ctl/advice.o
$(BUILD)/tests/unit/ctl/setup_test: $(addprefix $(BUILD)/src/ctl/,setup_secrets.o setup_server.o)
$(BUILD)/tests/unit/ctl/doctor_test: $(addprefix $(BUILD)/src/ctl/,doctor_judge.o doctor_schema.o)
$(BUILD)/tests/unit/ctl/connector_page_test: $(addprefix $(BUILD)/src/ctl/,connector_page.o print.o)
$(BUILD)/tests/unit/ctl/rehearsal_test: $(addprefix $(BUILD)/src/ctl/,rehearsal.o print.o)
$(BUILD)/tests/unit/ctl/check_test: $(addprefix $(BUILD)/src/ctl/,check_clock.o check_permissions.o)

.PHONY: check-unit unit-programs
unit-programs: $(UNIT_PROGRAMS)
check-unit: $(UNIT_PROGRAMS)
	@mkdir -p $(BUILD)/tests
	@tests/lib/run_unit.sh $(RESULTS) $(UNIT_PROGRAMS)

# the fuzz targets: with the inputs of tests/fuzz/corpus here, with libFuzzer in make fuzz
FUZZ_REPLAY_OBJS := $(BUILD)/tests/fuzz/replay.o $(EXHAUST_SRCS:%.c=$(BUILD)/%.o)
$(BUILD)/tests/fuzz/replay.o $(BUILD)/tests/unit/base/exhaustion_test.o: private ALL_CPPFLAGS += -Itests
$(EXHAUST_SRCS:%.c=$(BUILD)/%.o): private ALL_CPPFLAGS += -Itests
$(FUZZ_PROGRAMS): %: %.o $(if $(filter fuzzer,$(SANITIZER)),,$(FUZZ_REPLAY_OBJS)) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) $(if $(filter fuzzer,$(SANITIZER)),-fsanitize=fuzzer,$(EXHAUST_LDFLAGS)) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(if $(filter fuzzer,$(SANITIZER)),,-lcmocka) $(LIBS)
$(BUILD)/tests/fuzz/event: $(BUILD)/src/service/incoming.o
$(BUILD)/tests/fuzz/connector $(BUILD)/tests/fuzz/answer: $(BUILD)/tests/fuzz/calls.o
FUZZ_SECONDS ?= 60
TARGET ?=
.PHONY: fuzz fuzz-programs check-fuzz
fuzz-programs: $(FUZZ_PROGRAMS)
check-fuzz: $(FUZZ_PROGRAMS) ## what fuzzing found, and other odd inputs, once more
	@mkdir -p $(BUILD)/tests
	@tests/lib/run_unit.sh $(RESULTS) $(FUZZ_PROGRAMS)
fuzz: ## odd inputs made by libFuzzer: FUZZ_SECONDS (60) for each target, or for TARGET=NAME alone (clang)
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' tests/fuzz/run.sh $(or $(TARGET),$(notdir $(FUZZ_SRCS:.c=)))

# these start a PostgreSQL, the sandbox ATS and the daemon of their own (tests/lib/harness.h)
$(HARNESS_OBJS) $(BROWSER_SRCS:%.c=$(BUILD)/%.o) $(addsuffix .o,$(DB_PROGRAMS) $(E2E_PROGRAMS) $(CHAOS_PROGRAMS) $(PAGE_PROGRAMS)): private ALL_CPPFLAGS += -Itests \
	-DTEST_SOURCE_DIR='"$(CURDIR)"' -DTEST_BUILD_DIR='"$(abspath $(BUILD))"'
$(PAGE_PROGRAMS): $(BROWSER_SRCS:%.c=$(BUILD)/%.o)
$(DB_PROGRAMS) $(E2E_PROGRAMS) $(CHAOS_PROGRAMS) $(PAGE_PROGRAMS): %: %.o $(HARNESS_OBJS) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

.PHONY: check-db check-e2e check-page
check-db: $(DB_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats
	@UNIT_TIMEOUT_S=$${UNIT_TIMEOUT_S:-600} tests/lib/run_unit.sh $(RESULTS) $(DB_PROGRAMS)
check-e2e: $(E2E_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats
	@UNIT_TIMEOUT_S=$${UNIT_TIMEOUT_S:-600} tests/lib/run_unit.sh $(RESULTS) $(E2E_PROGRAMS)
check-page: $(PAGE_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats ## the status page in Chromium
	@UNIT_TIMEOUT_S=$${UNIT_TIMEOUT_S:-600} tests/lib/run_unit.sh $(RESULTS) $(PAGE_PROGRAMS)

# After a change of a header in tests/lib: does everything that includes it still compile?
.PHONY: test-programs
test-programs: $(UNIT_PROGRAMS) $(FUZZ_PROGRAMS) $(DB_PROGRAMS) $(E2E_PROGRAMS) $(CHAOS_PROGRAMS) $(PAGE_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats \
	$(BUILD)/tests/contract/requests ## every program of the tests, and none run

.PHONY: check-tls
check-tls: $(PROGRAMS) ## the TLS listener, with testssl.sh
	@mkdir -p $(BUILD)/tests
	@BUILD='$(BUILD)' tests/tls/run.sh '$(abspath $(RESULTS))'

# the daemon as released: with sanitizers the figures would say nothing
ATTACK_SECONDS ?= 10
.PHONY: attacks
attacks: $(BUILD)/tests/e2e/attacks_test $(PROGRAMS) $(BUILD)/sandbox-ats ## attacks on the receiver, each for ATTACK_SECONDS (10); a good client's p99 must stay below 250 ms
	ATTACK_MS=$(ATTACK_SECONDS)000 ATTACK_P99_MS=250 $(BUILD)/tests/e2e/attacks_test

RETENTION_EVENTS ?= 1000000
.PHONY: check-retention
check-retention: $(BUILD)/tests/e2e/retention_test $(PROGRAMS) $(BUILD)/sandbox-ats ## a million old events go (RETENTION_EVENTS) while others arrive
	RETENTION_EVENTS=$(RETENTION_EVENTS) $(BUILD)/tests/e2e/retention_test

# alert rules and dashboards: needs nothing of the build
.PHONY: check-monitoring
check-monitoring: ## alert rules and dashboards
	@mkdir -p $(BUILD)/tests
	@tests/monitoring/run.sh '$(abspath $(RESULTS))'

# preloaded into a daemon whose clock is wrong, that sees a public host, whose memory is looked at; no sanitizer, they are loaded before theirs
$(PRELOADS): $(BUILD)/%.so: tests/lib/%.c
	$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra $(WERROR) $(if $(SANITIZER),-DLEFTOVERS_BY_SANITIZER) -fPIC -shared -o $@ $< -ldl
$(E2E_PROGRAMS) $(CHAOS_PROGRAMS): | $(PRELOADS)
CHAOS_SECONDS ?= 600
SEED ?=
.PHONY: chaos check-chaos check-faults fault-tests
chaos: $(CHAOS_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats ## everything breaks for CHAOS_SECONDS (600); SEED=N repeats a run
	CHAOS_SECONDS=$(CHAOS_SECONDS) SEED=$(SEED) $(BUILD)/tests/chaos/chaos
check-chaos: $(CHAOS_PROGRAMS) $(PROGRAMS) $(BUILD)/sandbox-ats
	@CHAOS_SECONDS=60 SEED=$(SEED) UNIT_JOBS=1 UNIT_TIMEOUT_S=$${UNIT_TIMEOUT_S:-600} tests/lib/run_unit.sh $(RESULTS) $(filter-out %/fault_points_test,$(CHAOS_PROGRAMS))
# the crashes need a build of their own
ifneq ($(FAULTS),)
fault-tests: $(BUILD)/tests/chaos/fault_points_test
check-faults: fault-tests $(PROGRAMS) $(BUILD)/sandbox-ats
	@UNIT_TIMEOUT_S=$${UNIT_TIMEOUT_S:-600} tests/lib/run_unit.sh $(RESULTS) $(BUILD)/tests/chaos/fault_points_test
else
check-faults: ## crashes and stops at each named point
	@$(MAKE) --no-print-directory FAULTS=1 $(if $(RESULTS),RESULTS='$(abspath $(RESULTS))') check-faults
endif

# measures, decides nothing; the daemon as released
$(BENCH_PROGRAMS): %: %.o $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
.PHONY: bench bench-programs
bench-programs: $(BENCH_PROGRAMS)
bench: ## how fast it is: a table of ratios; ROUNDS=1, ONLY=ingest,drain, FULL=1, PEER=DIR, RECORD=1
	@packaging/install-deps build run
	@$(MAKE) --no-print-directory -s -j$$(nproc) all bench-programs
	@BUILD='$(BUILD)' tests/bench/run.sh

# requests of the connectors against OpenAPI documents, in Prism; the vendors' own documents are not part of this project
VENDOR_SPECS ?= $(wildcard ../shared/ats/specs)
$(BUILD)/tests/contract/requests: $(CONTRACT_SRCS:%.c=$(BUILD)/%.o) $(BUILD)/libatsync.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
.PHONY: check-contract
check-contract: $(BUILD)/tests/contract/requests ## the connectors' requests against what is known of each ATS (needs npm)
	@BUILD='$(BUILD)' RESULTS='$(RESULTS)' VENDOR_SPECS='$(VENDOR_SPECS)' tests/contract/run.sh $(CONTRACT)

# the lease and ledger protocol as a model: needs nothing of the build
.PHONY: check-model
check-model: ## the model of the protocol, with spin
	@mkdir -p $(BUILD)/tests
	@tests/model/run.sh '$(abspath $(RESULTS))'

$(BUILD)/%.o: %.c $(GEN)/flags.mk $(GEN)/sql.h $(GEN)/settings
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(GEN)/%.o: $(GEN)/%.c $(GEN)/flags.mk $(GEN)/settings
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# ---- generated: SQL statements and migrations as C constants, and what this compiler knows -------------------------
SQL_STMTS := $(sort $(wildcard sql/stmt/*.sql sql/dba/*.sql))
SQL_MIGRATIONS := $(sort $(wildcard sql/migrations/*.sql))
$(GEN)/sql.h $(GEN)/sql.c &: sql/embed.awk $(SQL_STMTS) $(GEN)/embedded
	@mkdir -p $(GEN)
	awk -v mode=header -f sql/embed.awk $(SQL_STMTS) >$(GEN)/sql.h
	awk -v mode=statements -f sql/embed.awk $(SQL_STMTS) >$(GEN)/sql.c
$(GEN)/migrations.c: sql/embed.awk $(SQL_MIGRATIONS) $(GEN)/embedded
	@mkdir -p $(GEN)
	awk -v mode=migrations -f sql/embed.awk $(SQL_MIGRATIONS) >$@
PAGE_FILES := $(sort $(wildcard src/service/page/*.html src/service/page/*.css src/service/page/*.js src/service/page/*.svg))
$(GEN)/page.c: src/service/page/embed.awk $(PAGE_FILES)
	@mkdir -p $(GEN)
	awk -f src/service/page/embed.awk $(PAGE_FILES) >$@
$(GEN)/golden.c: sql/embed.awk sql/schema.golden
	@mkdir -p $(GEN)
	awk -v mode=golden -f sql/embed.awk sql/schema.golden >$@
SAMPLES := $(sort $(wildcard conf/samples/*.json))
$(GEN)/samples.c: conf/samples/embed.awk $(SAMPLES)
	@mkdir -p $(GEN)
	awk -f conf/samples/embed.awk $(SAMPLES) >$@
$(GEN)/flags.mk: Makefile $(GEN)/compiler
	@mkdir -p $(GEN)
	@{ printf 'KNOWN_FLAGS :='; for f in $(WARNINGS) $(if $(FLAVOUR),,$(HARDENING)); do \
		if echo 'int x;' | $(CC) -Werror -Wformat $$f -x c -c - -o /dev/null 2>/dev/null; then printf ' %s' $$f; fi; done; echo; } >$@
# What was compiled with other settings (CFLAGS, paths) is compiled again; -Werror does not change an object.
SETTINGS = $(filter-out $(WERROR),$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS))
.PHONY: force
# a file that is gone makes nothing newer
$(GEN)/embedded: force
	@mkdir -p $(GEN)
	@echo '$(SQL_STMTS) $(SQL_MIGRATIONS)' | cmp -s - $@ || echo '$(SQL_STMTS) $(SQL_MIGRATIONS)' >$@
$(GEN)/compiler: force
	@mkdir -p $(GEN)
	@echo '$(CC)' | cmp -s - $@ || echo '$(CC)' >$@
$(GEN)/settings: force
	@mkdir -p $(GEN)
	@printf '%s\n' '$(subst ','\'',$(SETTINGS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(SETTINGS))' >$@

# Targets that need no compiler here: the tools may still be missing. run and check install them, then call make again.
NO_BUILD := help deps run check bench fuzz check-model check-monitoring format clean dist install-units deb rpm uninstall list-sources
ifneq ($(filter-out $(NO_BUILD),$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell command -v $(firstword $(CC)) >/dev/null || echo $(firstword $(CC)); command -v $(PKG_CONFIG) >/dev/null || echo pkg-config; \
	$(PKG_CONFIG) --exists $(PKGS) 2>/dev/null || for p in $(PKGS); do $(PKG_CONFIG) --exists $$p 2>/dev/null || echo $$p; done; \
	echo '\#include <jq.h>' | $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 || echo libjq)
ifneq ($(MISSING),)
$(error Not installed on this machine: $(MISSING). packaging/install-deps build installs what is needed)
endif
-include $(GEN)/flags.mk
# packages are built in trees of their own below build/
-include $(shell find $(BUILD) \( -path $(BUILD)/deb -o -path $(BUILD)/rpm \) -prune -o -name '*.d' -type f -print 2>/dev/null)
endif

# ---- for people ----------------------------------------------------------------------------------------------------
# The results of tests, one line "passed failed skipped name" for each program or suite.
RESULTS ?= $(BUILD)/tests/results
CLANG_FORMAT ?= $(or $(shell command -v clang-format-14),clang-format)

.PHONY: help deps run check lint format check-asan check-tsan check-valgrind coverage
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: CFLAGS, PREFIX, DESTDIR, SANITIZER=address|thread, WERROR=-Werror, ONCE=1 and CONNECTOR=TYPE (run)'
deps: ## install what is missing to build, run and test (Debian, Ubuntu, Fedora, RHEL)
	@packaging/install-deps build run test
run: ## try it: PostgreSQL, a sandbox ATS, the daemon, and a sample of each event
	@packaging/install-deps build run
	@echo 'Building (about a minute the first time)'
	@$(MAKE) --no-print-directory -s -j$$(nproc) all sandbox-ats stub-ats
	@ONCE=$(ONCE) CONNECTOR=$(CONNECTOR) BUILD=$(BUILD) tests/demo/run.sh
check: ## every test; installs what is missing
	@packaging/install-deps build run test
	@tests/check.sh
lint: ## rules of the sources
	@$(MAKE) --no-print-directory -s -j$$(nproc) objects
	@mkdir -p $(BUILD)/tests
	@RESULTS='$(RESULTS)' LINT_BUILD='$(BUILD)' CC='$(CC)' tests/lint/run.sh
format: ## lay out the sources with clang-format
	find include src tests -path tests/lint/fixtures -prune -o -name '*.[ch]' -print | xargs $(CLANG_FORMAT) -i
# the options that say what the sources mean; warnings and hardening are the build's affair
ANALYZE_FLAGS = -std=c11 -pthread $(ALL_CPPFLAGS)
ANALYZE ?=
.PHONY: analyze
analyze: $(GEN)/sql.h ## src/ through clang-tidy, cppcheck and gcc -fanalyzer; ANALYZE=gcc for one of them
	@ANALYZE_FLAGS='$(subst ','\'',$(ANALYZE_FLAGS))' ANALYZE_SRCS='$(sort $(COMMON_SRCS) $(DAEMON_SRCS) $(CTL_SRCS))' ANALYZE_DIR='$(BUILD)/analyze' \
		tests/analyze/run.sh $(ANALYZE)
# see tests/check.sh: sanitizers and too random addresses
FIXED_ADDRESSES := $(shell setarch "$$(uname -m)" -R true 2>/dev/null && echo setarch "$$(uname -m)" -R)
# All that runs programs of ours; the crashes at fault points need a build of their own.
SANITIZED_CHECKS := check-unit check-fuzz check-db check-e2e check-page check-chaos
check-asan: ## the tests with AddressSanitizer and UndefinedBehaviorSanitizer (a quarter of an hour)
	$(FIXED_ADDRESSES) $(MAKE) SANITIZER=address $(SANITIZED_CHECKS)
	$(FIXED_ADDRESSES) $(MAKE) SANITIZER=address FAULTS=1 check-faults
check-tsan: ## the tests with ThreadSanitizer (twenty minutes)
	UNIT_TIMEOUT_S=1200 TEST_PATIENCE=3 $(FIXED_ADDRESSES) $(MAKE) SANITIZER=thread $(SANITIZED_CHECKS)
	UNIT_TIMEOUT_S=1200 TEST_PATIENCE=3 $(FIXED_ADDRESSES) $(MAKE) SANITIZER=thread FAULTS=1 check-faults
# Test programs, and every daemon and atsyncctl that they start; what they ask of time is asked with patience.
VALGRIND := valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible --suppressions=$(CURDIR)/tests/lib/valgrind.supp
check-valgrind: ## the tests under valgrind (an hour)
	UNIT_TIMEOUT_S=3600 TEST_PATIENCE=20 UNIT_RUNNER='$(VALGRIND)' PROGRAM_RUNNER='$(VALGRIND)' $(MAKE) check-unit check-fuzz check-db
	UNIT_TIMEOUT_S=3600 TEST_PATIENCE=20 PROGRAM_RUNNER='$(VALGRIND)' $(MAKE) check-e2e
coverage: ## how much of src/ the tests run; fails below the limits
	UNIT_TIMEOUT_S=1200 TEST_PATIENCE=3 $(MAKE) COVERAGE=1 check-unit check-fuzz check-db check-e2e
	gcovr -r . --object-directory build/coverage --filter src/ --exclude-throw-branches --print-summary --sort-uncovered
# The part of atsyncd-connectors(7) that is made of the connectors' own words; a unit test compares.
CONNECTORS_PAGE := packaging/man/atsyncd-connectors.7
.PHONY: connectors-page
connectors-page: $(BUILD)/atsyncctl ## write the connectors' part of atsyncd-connectors(7) anew
	{ sed '/^\.\\" Begin of what/q' $(CONNECTORS_PAGE) && $(BUILD)/atsyncctl -c conf/atsyncd.conf connectors --mdoc && \
		sed -n '/^\.\\" End of what/,$$p' $(CONNECTORS_PAGE); } >$(BUILD)/connectors-page
	mv $(BUILD)/connectors-page $(CONNECTORS_PAGE)
# What is kept of the schema: sql/schema.golden, the release being made in tests/db/released, and the part of atsyncd-views(7)
# that is made of the comments in the database; a database test compares.
.PHONY: schema-files
schema-files: $(BUILD)/tests/db/schema_test $(PROGRAMS) $(BUILD)/sandbox-ats ## write what tests and manual keep of the schema anew
	ATSYNC_GOLDEN=update $(BUILD)/tests/db/schema_test
# Prints every C file that something here builds; lint compares it with the tree.
.PHONY: list-sources
list-sources:
	@echo $(sort $(filter %.c,$(foreach v,$(filter %_SRCS %_TESTS,$(.VARIABLES)),$($(v)))))

# ---- install ---------------------------------------------------------------------------------------------------------
INSTALL ?= install
INSTALLED_DATA := $(wildcard conf/connectors/*.jq conf/connector-tests/*.json packaging/monitoring/*) $(shell find sql -name '*.sql')
INSTALLED_MAN := $(wildcard packaging/man/*.[1-9])
INSTALLED_UNITS := $(wildcard packaging/systemd/*.service)
# the units name the places of a package
at_our_places = sed -e 's|/usr/sbin/|$(SBINDIR)/|g' -e 's|/etc/atsyncd|$(SYSCONFDIR)/atsyncd|g'
data_path = $(DATADIR)/atsyncd/$(patsubst packaging/%,%,$(patsubst conf/%,%,$(1)))
man_path = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))
.PHONY: install install-units uninstall dist
install: all install-units ## install; DESTDIR, PREFIX and SYSCONFDIR are honoured
	$(INSTALL) -d -m 755 $(addprefix $(DESTDIR),$(sort $(SBINDIR) $(BINDIR) $(SYSCONFDIR) $(COMPLETIONDIR) $(dir $(foreach f,$(INSTALLED_DATA),$(call data_path,$(f))) $(foreach f,$(INSTALLED_MAN),$(call man_path,$(f))))))
	$(INSTALL) -m 755 $(BUILD)/atsyncd $(DESTDIR)$(SBINDIR)/atsyncd
	$(INSTALL) -m 755 $(BUILD)/atsyncctl $(DESTDIR)$(BINDIR)/atsyncctl
	$(foreach f,$(INSTALLED_DATA),$(INSTALL) -m 644 $(f) $(DESTDIR)$(call data_path,$(f)) && ):
	$(foreach f,$(INSTALLED_MAN),$(INSTALL) -m 644 $(f) $(DESTDIR)$(call man_path,$(f)) && ):
	$(INSTALL) -m 644 packaging/completion/atsyncctl $(DESTDIR)$(COMPLETIONDIR)/atsyncctl
	$(INSTALL) -d -m 750 $(DESTDIR)$(SYSCONFDIR)/atsyncd
	@# for systemd alone, which hands what is in it to the daemon (LoadCredential=)
	$(INSTALL) -d -m 700 $(DESTDIR)$(SYSCONFDIR)/atsyncd/credentials
	@# an administrator's configuration is never written over
	[ -e $(DESTDIR)$(SYSCONFDIR)/atsyncd/atsyncd.conf ] || $(INSTALL) -m 640 conf/atsyncd.conf $(DESTDIR)$(SYSCONFDIR)/atsyncd/atsyncd.conf
install-units:
	@mkdir -p $(BUILD)
	$(INSTALL) -d -m 755 $(addprefix $(DESTDIR),$(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR))
	$(foreach f,$(INSTALLED_UNITS),$(at_our_places) $(f) >$(BUILD)/$(notdir $(f)) && $(INSTALL) -m 644 $(BUILD)/$(notdir $(f)) $(DESTDIR)$(UNITDIR)/ && ):
	$(INSTALL) -m 644 packaging/systemd/atsyncd.sysusers $(DESTDIR)$(SYSUSERSDIR)/atsyncd.conf
	$(at_our_places) packaging/systemd/atsyncd.tmpfiles >$(BUILD)/atsyncd.tmpfiles
	$(INSTALL) -m 644 $(BUILD)/atsyncd.tmpfiles $(DESTDIR)$(TMPFILESDIR)/atsyncd.conf
uninstall: ## take away what install brought, except the configuration
	rm -f $(DESTDIR)$(SBINDIR)/atsyncd $(DESTDIR)$(BINDIR)/atsyncctl $(DESTDIR)$(COMPLETIONDIR)/atsyncctl $(foreach f,$(INSTALLED_MAN),$(DESTDIR)$(call man_path,$(f)))
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(INSTALLED_UNITS))) $(DESTDIR)$(SYSUSERSDIR)/atsyncd.conf $(DESTDIR)$(TMPFILESDIR)/atsyncd.conf
	rm -rf $(DESTDIR)$(DATADIR)/atsyncd
.PHONY: deb
deb: ## the Debian package, in build/deb
	@packaging/install-deps build package
	@packaging/deb $(BUILD)/deb
.PHONY: rpm check-package
rpm: ## the source rpm and the rpm, in build/rpm
	@packaging/install-deps build package
	@packaging/rpm/build $(BUILD)/rpm
check-package: ## the packages on a clean, booted system: install, set up, upgrade, downgrade, purge (root; minutes; not in make check)
	@packaging/install-deps build package
	@tests/package/dist.sh
	@tests/package/reproducible.sh
	@tests/package/run.sh
	@TESTS=1 packaging/rpm/build build/rpm >/dev/null
	@tests/package/rpm.sh
dist: ## a source archive, the same bytes for the same commit
	@mkdir -p build
	git archive --format=tar --prefix=atsyncd-$(VERSION)/ HEAD | gzip -n9 >build/atsyncd-$(VERSION).tar.gz
	@echo build/atsyncd-$(VERSION).tar.gz

.PHONY: clean
clean: ## remove what was built
	rm -rf build
