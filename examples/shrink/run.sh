#!/bin/sh
# One trained ViT in, three smaller ones out, beside the same three trained from scratch for the same number of steps.
#
#   examples/shrink/run.sh FOLDER        needs prenas on the PATH; ten minutes on two cores
#
# EPOCHS is how long the large one is trained, SHRINK_EPOCHS how long the three: a list, each of
# which is tried. DATA names other images than Fashion-MNIST.
set -e
data=${DATA:-fashion-mnist}
out=${1:?name a folder for the results}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
recipe() { sed "s/^epochs: .*/epochs: $1/" "$here/recipe.yaml" > "$out/recipe-$1.yaml"; echo "$out/recipe-$1.yaml"; }
long=$(recipe "${EPOCHS:-8}")

prenas train --space quickstart --candidates "$here/large.json" --data "$data" --recipe "$long" --out "$out/large"
prenas eval "$out/large"
weights=$(ls "$out"/large/checkpoints/step-*.safetensors | sort -V | tail -1)
prenas search --space quickstart --weights "$weights" --data "$data" --out "$out/candidates.json"
for epochs in ${SHRINK_EPOCHS:-1 4}; do
	short=$(recipe "$epochs")
	for kind in shrunk scratch; do
		start=
		[ $kind = scratch ] || start="--weights $weights"
		prenas train --candidates "$out/candidates.json" $start --data "$data" --recipe "$short" --out "$out/$kind-$epochs"
		echo "$kind, epochs $epochs:"
		prenas eval "$out/$kind-$epochs"
	done
done
