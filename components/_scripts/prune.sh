# Prunes by the threshold that the plan found.
threshold=$(sed -n 's/.*"threshold": *\([0-9.eE+-]*\).*/\1/p' "$plan/pruning.json")
[ -n "$threshold" ] || fail 2 "$plan/pruning.json states no threshold"
mkdir -p "$work/results"
detectnet_v2 prune -m "$model/model.hdf5" -o "$work/pruned.hdf5" --results_dir "$work/results" \
  -n "$normalizer" -eq "$criterion" -pg "$granularity" -nf "$min_filters" -pth "$threshold"
keep "$work/pruned.hdf5" model.hdf5
keep "$work/results/status.json" status.json
keep "$model/spec.txt" spec.txt
