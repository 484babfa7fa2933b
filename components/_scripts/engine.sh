# Builds an INT8 engine for the GPU of this machine, and notes which GPU that is.
render "$model/spec.txt" "$work/spec.txt"
mkdir -p "$work/results"
detectnet_v2 gen_trt_engine -m "$model/model.onnx" -e "$work/spec.txt" -r "$work/results" --data_type int8 \
  --cal_json_file "$model/calibration.json" --cal_cache_file "$work/calibration.cache" \
  --engine_file "$work/model.engine" --min_batch_size 1 --opt_batch_size "$best" --max_batch_size "$batch"
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader --id=0)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader --id=0)
printf '{"gpu": "%s", "compute_capability": "%s", "batch": [1, %s, %s]}\n' "$gpu" "$capability" "$best" "$batch" \
  > "$work/build.json"
keep "$work/model.engine" model.engine
keep "$work/calibration.cache" calibration.cache
keep "$work/build.json" build.json
keep "$model/model.onnx" model.onnx
keep "$model/calibration.json" calibration.json
keep "$model/spec.txt" spec.txt
