# Evaluates a checkpoint with TAO's own metric.
unpack "$dataset" "$work/own"
ln -s "$records" "$work/records"
render "$records/spec.txt" "$work/spec.txt"
detectnet_v2 evaluate -e "$work/spec.txt" -m "$model/model.hdf5" -r "$work/results"
keep "$work/results/status.json" status.json
