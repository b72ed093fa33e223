# Starts a gateway for the scripts beside this file; to be sourced by bash.
#
#   start_gateway tests/config/echo    (or `.` for the shipped files)
#
# runs target/debug/weir on a copy of that folder with every port replaced by a free one, waits until each listener has
# said its address, with nothing in its environment but weir_env=(NAME=value …), and sets weir_pid, weir_log and weir_NAME=127.0.0.1:PORT for each listener. stop_gateway ends it.

start_gateway() {
  local from=$1 listeners said=0 line name address folder
  weir_folder=$(mktemp -d)
  weir_log=$weir_folder/log
  sed -E 's/^(address *= *"[^"]*:)[0-9]+"/\10"/' "$from/gateway.toml" >"$weir_folder/gateway.toml"
  for folder in channels plugins; do
    if [ -d "$from/$folder" ]; then cp -r "$from/$folder" "$weir_folder/"; fi
  done
  listeners=$(grep -c '^\[listener\.' "$weir_folder/gateway.toml")
  coproc WEIR { exec env -i PATH="$PATH" ${weir_env[@]+"${weir_env[@]}"} target/debug/weir run -c "$weir_folder/gateway.toml" 2>&1; }
  weir_pid=$WEIR_PID
  # bash keeps a coprocess's own descriptors from what it starts in the background.
  exec {weir_out}<&"${WEIR[0]}"
  while [ "$said" -lt "$listeners" ] && read -r line; do
    printf '%s\n' "$line" >>"$weir_log"
    case $line in
      "weir: listening "*)
        read -r _ _ name address <<<"$line"
        export "weir_$name=$address"
        said=$((said + 1))
        ;;
    esac
  done <&"$weir_out"
  # What it writes from here on is kept too, and never fills the pipe.
  cat <&"$weir_out" >>"$weir_log" &
  if [ "$said" -lt "$listeners" ]; then
    echo "the gateway did not start:"
    cat "$weir_log"
    return 1
  fi
}

stop_gateway() {
  kill "$weir_pid" 2>/dev/null || true
  wait "$weir_pid" 2>/dev/null || true
  rm -rf "$weir_folder"
}
