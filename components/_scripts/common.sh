# What the scripts around TAO's tasks share. Each is called with --NAME VALUE pairs, which become variables.
set -euo pipefail
export TELEMETRY_OPT_OUT=1 # nothing is sent to NVIDIA, and a pod without a way out does not wait for it

while [ $# -gt 0 ]; do
  printf -v "${1#--}" '%s' "$2"
  shift 2
done

work=$(mktemp -d)

fail() { # status, sentence
  echo "error: $2" >&2
  exit "$1"
}

unpack() { # image set, folder: its images under images/
  mkdir -p "$2/images"
  for shard in "$1"/images-*.tar; do
    tar -xf "$shard" -C "$2/images"
  done
}

unpack_flat() { # image set, folder: its images under images/, folders of their names as part of the name
  mkdir -p "$2/images"
  for shard in "$1"/images-*.tar; do
    tar -xf "$shard" -C "$2/images" --transform 's#/#__#g'
  done
}

render() { # spec, file: with this machine's folder in the place of the one that specs name
  sed "s#/workspace/aerodet#$work#g" "$1" > "$2"
}

keep() { # file, name: into the output
  [ -f "$1" ] || fail 3 "the TAO task left no $1; look for the reason above"
  mkdir -p "$out"
  cp "$1" "$out/$2"
}
