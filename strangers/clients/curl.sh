#!/usr/bin/env bash
# curl with --http2, which offers `Upgrade: h2c` and sends the body with the offer.
set -euo pipefail

url=$SERVICE_URL/v1/completions
asked="\"model\": \"$SERVICE_MODEL\", \"prompt\": \"$PROMPT\""
greedy="\"temperature\": 0, \"max_tokens\": 8"

ask() { curl --http2 --silent --show-error --header 'Content-Type: application/json' "$@" "$url"; }
texts() { python3 -c 'import json,sys
for line in sys.stdin:
    line = line.removeprefix("data: ").strip()
    if line and line != "[DONE]":
        sys.stdout.write(json.loads(line)["choices"][0]["text"])'; }
same() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 1; }; }

case $1 in
call)
    same "$(ask --data "{$asked, $greedy}" | texts; echo .)" "$TEXT."
    same "$(curl --http2 -sS -T - "$SERVICE_URL/predictions/$SERVICE_MODEL?temperature=0&max_tokens=8" \
        <<<"" -H 'Accept: text/plain' -o /dev/null -w '%{http_code}')" 200
    same "$(curl --http2 -sS --data-binary "$PROMPT" -H 'Content-Type: text/plain' -H 'Accept: text/plain' \
        "$SERVICE_URL/predictions/$SERVICE_MODEL?temperature=0&max_tokens=8"; echo .)" "$TEXT."
    ;;
stream) same "$(ask --no-buffer --data "{$asked, $greedy, \"stream\": true}" | texts; echo .)" "$TEXT." ;;
cancel)
    exec 3< <(exec curl --http2 -sN -H 'Content-Type: application/json' "$url" \
        --data "{$asked, \"max_tokens\": 480, \"stream\": true}")
    curl=$!
    read -r _ <&3
    kill "$curl"
    echo left
    read -r _
    ;;
error)
    same "$(ask --data "{$asked, \"temperature\": 9}" --output /dev/null --write-out '%{http_code}')" 400
    ask --fail-with-body --data "{$asked, \"temperature\": 9}" | grep -q '"param": "temperature"' && exit 1
    ;;
retry) # into a file, which it empties before it tries again
    ask --retry 3 --data "{$asked, $greedy}" --output reply.json
    same "$(texts <reply.json; echo .)" "$TEXT."
    ;;
esac
exit 0
