# install  greylag alone, into .venv
# run    set everything up and show the main job: a RCPT is greylisted on embedded SQLite
# test   set everything up and pass every check: lint, types, all tests
# check  lint, types and unit tests alone: fast
# test-in  the same on another release of Debian, in a chroot: make test-in RELEASE=trixie (root)
# test-packages-in  build and try the Debian package in chroots: RELEASE=trixie (root)
# soak   the big sizes of the tests
# bench  the figures that README quotes
# native the C plugins for `greylag serve`, into build/native (fuzz: one minute of hostile input)
# docs   the documentation as a site and as man pages
# dist   wheel, source distribution and Debian package, into dist/
# clean  remove what these made

PYTHON ?= /usr/bin/python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check install -c constraints.txt
SOURCES := $(shell find src contrib -type f -not -name '*.pyc') pyproject.toml README.md
VENV := python3-venv:/usr/lib/python3*/ensurepip/__init__.py
RUNTIME := $(VENV) ucspi-tcp:tcpserver
TESTING := $(RUNTIME) faketime:faketime postfix:postfix mariadb-server:mariadbd galera-4:/usr/lib/galera/libgalera_smm.so \
	rsync:rsync iproute2:ip openssl:openssl gcc:cc libc6-dev:/usr/include/stdio.h \
	musl-tools:musl-gcc systemd:/lib/systemd/systemd procps:pgrep groff-base:groff \
	logrotate:logrotate shellcheck:shellcheck zsh:zsh fish:fish libsasl2-modules:/usr/lib/*/sasl2/libplain.so \
	postgrey:postgrey sqlgrey:sqlgrey libdbd-sqlite3-perl:/usr/lib/*/perl5/*/DBD/SQLite.pm db-util:db_dump \
	libdbd-mysql-perl:/usr/lib/*/perl5/*/DBD/mysql.pm \
	knot:knotd unbound:unbound chromium:chromium prometheus:promtool daemontools:svscan daemontools-run:/lib/systemd/system/daemontools-run.service
BENCH := $(RUNTIME) gcc:cc libc6-dev:/usr/include/stdio.h musl-tools:musl-gcc postgrey:postgrey \
	sqlgrey:sqlgrey libdbd-sqlite3-perl:/usr/lib/*/perl5/*/DBD/SQLite.pm \
	libdbd-mysql-perl:/usr/lib/*/perl5/*/DBD/mysql.pm mariadb-server:mariadbd \
	knot:knotd unbound:unbound
# What builds and checks the Debian package.
DEB := build-essential:/usr/share/build-essential debhelper:dh dh-python:dh_python3 pybuild-plugin-pyproject:/usr/share/doc/pybuild-plugin-pyproject \
	lintian:lintian $(foreach p,click hatchling rich,python3-$(p):/usr/lib/python3/dist-packages/$(p))
# What `make test` runs beside all other tests: most of the time these wait for servers.
DAEMONS := tests/server tests/web
PROCESSES := tests/e2e tests/host
# These alone must reach every line and branch of core and wire: what other tests reach, they reach
# by chance, and tell nothing of what it should do.
MEASURED := tests/core tests/wire

.NOTPARALLEL:
.PHONY: dist dist-packages fuzz install run test cluster-test check soak bench docs clean lint venv-package runtime-packages test-packages bench-packages test-in test-packages-in chroot-packages

install: venv-package .venv/installed

run: runtime-packages .venv/installed
	$(BIN)/python -m tests.host.demo

# Three runs at once: two that mostly wait for servers, and one that mostly computes.
test: test-packages lint
	@mkdir -p build
	@rm -f build/not-covered
	@$(BIN)/python -m pytest $(PROCESSES) >build/processes.log 2>&1 & processes=$$!; \
	( $(BIN)/python -m pytest --cov --cov-report=term $(MEASURED) || touch build/not-covered; \
	exec $(BIN)/python -m pytest $(patsubst %,--ignore=%,$(DAEMONS) $(PROCESSES) $(MEASURED)) ) \
		>build/others.log 2>&1 & others=$$!; \
	trap "kill $$processes $$others" INT TERM; \
	$(BIN)/python -m pytest $(DAEMONS); failed=$$?; \
	echo "Tests of processes:"; wait $$processes || failed=1; cat build/processes.log; \
	echo "All other tests:"; wait $$others || failed=1; cat build/others.log; \
	[ ! -e build/not-covered ] || failed=1; \
	exit $$failed

check: lint
	$(BIN)/python -m pytest -q tests/test_house.py tests/test_docs.py tests/core tests/wire tests/store tests/service tests/admin tests/app

# Three nodes of Galera; `make test` has them too.
cluster-test: test-packages .venv/dev
	$(BIN)/python -m pytest --no-cov tests/server/test_cluster.py tests/core/test_cluster.py

# The Debian package, built and tried in chroots of a release.
test-packages-in: chroot-packages .venv/dev
	GREYLAG_SOAK=1 GREYLAG_RELEASE="$(RELEASE)" $(BIN)/python -m pytest --no-cov tests/e2e/test_packages.py \
		tests/e2e/test_packages_readme.py

test-in: chroot-packages
	@tools/test-in "$(RELEASE)"

soak: test-packages .venv/dev
	GREYLAG_SOAK=1 $(BIN)/python -m pytest tests

bench: bench-packages .venv/installed
	$(BIN)/python -m bench.oneshot
	$(BIN)/python -m bench.plugin
	$(BIN)/python -m bench.session
	$(BIN)/python -m bench.daemon
	$(BIN)/python -m bench.hostile
	$(BIN)/python -m bench.mysql
	$(BIN)/python -m bench.jgreylist
	$(BIN)/python -m bench.lists
	$(BIN)/python -m bench.size
	$(BIN)/python -m bench.history
	$(BIN)/python -m bench.world

dist: dist-packages .venv/dev
	@tools/dist $(BIN)/python dist

docs: .venv/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs/html
	$(BIN)/python tools/man_pages.py build/docs/man
	@$(BIN)/python tools/reading_ease.py
	@echo "site: build/docs/html/index.html  man pages: build/docs/man"

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

venv-package:
	@tools/debian-packages $(foreach p,$(VENV),"$(p)")

bench-packages:
	@tools/debian-packages $(foreach p,$(BENCH),"$(p)")

runtime-packages:
	@tools/debian-packages $(foreach p,$(RUNTIME),"$(p)")

test-packages:
	@tools/debian-packages $(foreach p,$(TESTING) $(DEB),"$(p)")
	@tools/unpacked runit

dist-packages:
	@tools/debian-packages $(foreach p,$(DEB),"$(p)")

chroot-packages:
	@tools/debian-packages debootstrap:debootstrap git:git

# The virtual environment holds greylag as a user would install it: built, not linked.
.venv/created:
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/installed: .venv/created constraints.txt $(SOURCES)
	$(PIP) '.[daemon,mysql,web]'
	$(PIP) --force-reinstall --no-deps .
	@touch $@

.venv/dev: .venv/installed
	$(PIP) '.[test,lint]'
	@touch $@

.venv/docs: .venv/installed
	$(PIP) '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The C plugins, and one minute of hostile input for their parser.
include src/greylag/native/native.mk

fuzz: native-fuzz
