# What people run. Each recipe is short; the work stands in scripts/.
.DEFAULT_GOAL := help
.PHONY: help bootstrap build images role-images test soak fuzz bench demo fmt proto-baseline advisories clean

ARGS ?=
COUNT ?= 20

help: ## say what there is
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

bootstrap: ## install what is missing (Debian, Ubuntu)
	@scripts/bootstrap

demo: bootstrap ## launch nodes of two chains on leased machines and watch them; ARGS=--exit ends when they follow and earn
	@scripts/demo $(ARGS)

test: ## everything that must pass before a merge; ARGS go to nextest
	@scripts/test $(ARGS)

soak: bootstrap ## the same tests COUNT times, with many random cases; then a day of races and crashes
	@PROPTEST_CASES=10000 BERTH_CONNECTIONS=10000 BERTH_STEPS=1 BERTH_ROOT_CASES=50 BERTH_ROOT_SEED=$$(date +%s) scripts/nextest --profile soak --stress-count $(COUNT) -E 'not binary(tidy)' $(ARGS)
	@BERTH_RACE_ROUNDS=100000 BERTH_CRASH_SIGNATURES=500000 scripts/nextest --profile endurance -E 'package(berth-signer) & test(/^(races|crash)::/)'

fuzz: bootstrap ## damaged input for what strangers and machines send; SECONDS_EACH=60, ARGS names targets
	@scripts/fuzz $(ARGS)

bench: bootstrap ## a table, and a JSON object a line in target/bench.jsonl; ARGS=sign for one alone
	@scripts/bench $(ARGS)

build: bootstrap ## the executables, optimised, in target/release
	@. scripts/env && cargo build --locked --release -p berth -p berth-agent -p berth-signer

images: bootstrap ## the images that tests and the demo deploy
	@scripts/images

role-images: bootstrap ## the images of the roles, for Kubernetes: OCI layouts in target/role-images
	@scripts/role-images

fmt: bootstrap ## format Rust and proto files
	@. scripts/env && cargo fmt --all && buf format --write proto

proto-baseline: bootstrap ## accept today's API as what later changes must not break
	@. scripts/env && buf build proto --exclude-source-info -o proto/baseline.binpb

advisories: bootstrap ## known vulnerabilities among the dependencies (needs the network)
	@. scripts/env && cargo deny check advisories

clean: ## remove target/; the tools stay in their cache
	cargo clean
