# Trains. A results folder that outlives the pod lets a training that was stopped go on from its newest checkpoint.
unpack "$dataset" "$work/own"
if [ -n "${synthetic:-}" ]; then unpack "$synthetic" "$work/mix"; fi
if [ -n "${init:-}" ]; then ln -s "$init" "$work/init"; fi
ln -s "$records" "$work/records"
render "$records/spec.txt" "$work/spec.txt"
results=${state:+$state/$name}
results=${results:-$work/results}
mkdir -p "$results"
if [ -f "$results/aerodet-spec.txt" ] && ! cmp -s "$results/aerodet-spec.txt" "$records/spec.txt"; then
  fail 2 "$results holds checkpoints of another training, which TAO would go on with; give a new state folder"
fi
cp "$records/spec.txt" "$results/aerodet-spec.txt"
detectnet_v2 train -e "$work/spec.txt" -r "$results" -n "$name" --gpus "$gpus"
keep "$results/weights/$name.hdf5" model.hdf5
keep "$results/status.json" status.json
keep "$records/spec.txt" spec.txt
