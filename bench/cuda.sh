#!/usr/bin/env bash
# Tests and train steps on a CUDA GPU, beside PyTorch on the same GPU. The machine with the
# GPU needs no Go and no network: python3 with torch and with jax's plug-in for CUDA
# (pip install torch jax[cuda13]), and nvidia-smi.
#
#   bench/cuda.sh build    where Go is: writes bench/cuda.tgz, 39 MB
#   bench/cuda.sh run      there, in the same checkout: tests, then the table, in 7 minutes
#   bench/cuda.sh tests    the tests only
#   bench/cuda.sh steps    the table only
#   bench/cuda.sh kernels  in $OUT: the time of each kernel of a step of the first row, by ncu, and
#                          its program as XLA optimised it
#
# PLUGIN names the plug-in (default: the one of the python3 that is found), SECONDS_MAX what
# it may take in all (default 420), SPACES the rows, most wanted first, each SPACE:BATCH; a
# row is not begun when the time is up. The peer is PyTorch at its fastest, compiled; BEST=no
# measures the original's way instead. Logs go to $OUT (default /tmp/prenas-cuda).
#
# Tests compare with other engines and with themselves, byte for byte, so for them products
# in float32 are whole (no TF32), and XLA takes neither atomic sums nor what it measured to
# be faster. The steps have none of these settings: both sides then use TF32.
set -uo pipefail
cd "$(dirname "$0")/.."
archive=bench/cuda.tgz
rooms=(trainstep train engine supernet)

build() {
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	for room in "${rooms[@]}"; do
		go test -c -ldflags "-s -w" -o "$dir/$room.test" "./internal/$room" || exit 1
	done
	go build -ldflags "-s -w" -o "$dir/step" ./bench/step || exit 1
	tar -czf "$archive" -C "$dir" . && ls -l "$archive"
}

setup() {
	bin=$(mktemp -d)
	trap 'rm -rf "$bin"' EXIT
	tar -xzf "$archive" -C "$bin" || exit 1
	out=${OUT:-/tmp/prenas-cuda}
	mkdir -p "$out"
	limit=${SECONDS_MAX:-420}
	plugin=${PLUGIN:-$(python3 -c 'import importlib.util as u; print(u.find_spec("jax_plugins.xla_cuda13").submodule_search_locations[0])')/xla_cuda_plugin.so}
	# XLA needs libdevice and ptxas, which the toolkit has.
	local nvcc
	if nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null); then
		flags="${XLA_FLAGS:-} --xla_gpu_cuda_data_dir=$(dirname "$(dirname "$(readlink -f "$nvcc")")")"
	else
		flags=${XLA_FLAGS:-}
	fi
	nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
	echo "plug-in $plugin; XLA_FLAGS $flags"
}

tests() {
	local whole="$flags --xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
	# Of training, what runs steps: the files of a run are the same on any device.
	local room pids=() wanted='Fixture|Formula|Head|Masked|Models|Measure|BF16|Resume|Accumulated|Teaching|NotFinite|Learns'
	for room in "${rooms[@]}"; do
		[[ $room == train* ]] || wanted=.
		(cd "internal/$room" && XLA_FLAGS=$whole NVIDIA_TF32_OVERRIDE=0 PRENAS_TEST_BACKEND="cuda:$plugin" \
			"$bin/$room.test" -test.v -test.timeout 240s -test.run "$wanted" >"$out/$room.log" 2>&1) &
		pids+=($!)
	done
	local failed=0
	for i in "${!rooms[@]}"; do
		wait "${pids[$i]}" || failed=1
		room=${rooms[$i]}
		printf '%s: %d passed, %d failed, %d skipped\n' "$room" \
			"$(grep -c '^--- PASS' "$out/$room.log")" "$(grep -c '^--- FAIL' "$out/$room.log")" "$(grep -c '^--- SKIP' "$out/$room.log")"
		grep -E -B3 '^--- FAIL|^panic|^fatal' "$out/$room.log" | head -30
	done
	echo "tests: $SECONDS s so far"
	return $failed
}

steps() {
	local row best=-best
	[[ ${BEST:-} != no ]] || best=
	for row in ${SPACES:-tiny:256 small:256 base:128 conv:256}; do
		if ((SECONDS > limit - 60)); then
			echo "$row: not begun, the time is up"
			continue
		fi
		XLA_FLAGS=$flags timeout $((limit - SECONDS)) "$bin/step" -space "${row%:*}" -batch "${row#*:}" \
			-steps 20 -rounds 1 $best -backend "cuda:$plugin" 2>>"$out/steps.log" | tee -a "$out/table.txt" || echo "$row: failed, or the time was up: see $out/steps.log"
		echo "($SECONDS s so far)"
	done
}

kernels() {
	local row=${SPACES:-tiny:256}
	row=${row%% *}
	# Kernels are seen one by one where XLA does not record them as one.
	XLA_FLAGS="$flags --xla_gpu_enable_command_buffer= --xla_dump_to=$bin/dump --xla_dump_hlo_as_text" \
		ncu --target-processes all --clock-control none --metrics gpu__time_duration.sum --csv --log-file "$out/kernels.csv" \
		--launch-skip 1500 --launch-count 1500 "$bin/step" -space "${row%:*}" -batch "${row#*:}" -steps 6 -rounds 1 \
		-precisions bf16 -python '' -backend "cuda:$plugin"
	local programs
	programs=$(ls -S "$bin"/dump/*after_optimizations.txt | head -2)
	gzip -c $programs >"$out/programs.txt.gz"
	ls -l "$out"
}

case ${1:-} in
build) build ;;
run)
	setup
	tests
	tested=$?
	steps
	exit $tested
	;;
tests) setup && tests ;;
steps) setup && steps ;;
kernels) setup && kernels ;;
*)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
