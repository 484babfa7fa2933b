# Exports a quantised checkpoint: ONNX, and the activation ranges as JSON.
render "$model/spec.txt" "$work/spec.txt"
detectnet_v2 export -m "$model/model.hdf5" -o "$work/model.onnx" -e "$work/spec.txt" --cal_json_file "$work/scales.json"
keep "$work/model.onnx" model.onnx
keep "$work/scales.json" calibration.json
keep "$model/spec.txt" spec.txt
