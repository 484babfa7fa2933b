# Detects with an engine. One image at a time: a last batch that is not full would be left out.
unpack_flat "$dataset" "$work/own"
printf '%s' "$spec" > "$work/inference.txt"
detectnet_v2 inference -e "$work/inference.txt" -m "$model/model.engine" -i "$work/own/images" -b 1 -r "$work/results"
mkdir -p "$out"
cp -r "$work/results/labels" "$out/labels"
