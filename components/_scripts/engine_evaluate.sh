# Evaluates an engine with TAO Deploy's metric. One image at a time: a last batch that is not full would be left out.
unpack_flat "$dataset" "$work/own"
mkdir -p "$work/own/labels" "$work/results"
tar -xf "$records/labels.tar" -C "$work/own/labels"
render "$model/spec.txt" "$work/spec.txt"
detectnet_v2 evaluate -e "$work/spec.txt" -m "$model/model.engine" -i "$work/own/images" -l "$work/own/labels" \
  -b 1 -r "$work/results"
keep "$work/results/results.json" results.json
