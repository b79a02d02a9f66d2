#!/bin/sh
# Starts the example: Keyreeve, two made-up providers and the team's backend, all on this machine.
#
#   ./run.sh [FOLDER]
#
# Everything it makes is in FOLDER, or in a temporary one that goes when it ends. PORT is the page's
# port, a free one unless said. KEYREEVE is the program, one that was built here unless said.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
keyreeve=${KEYREEVE:-}
for built in release debug; do
    program=$here/../../target/$built/keyreeve
    [ -n "$keyreeve" ] || [ ! -x "$program" ] || keyreeve=$program
done
keyreeve=$(command -v "${keyreeve:-keyreeve}") || {
    echo "There is no keyreeve: build it with 'cargo build --release', or name it in KEYREEVE." >&2
    exit 1
}
# What is set for another installation must not make this one write to it.
for name in $(env | sed -n 's/^\(KEYREEVE_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
export PYTHONDONTWRITEBYTECODE=1

temporary=
if [ $# -gt 0 ]; then
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
else
    temporary=$(mktemp -d)
    folder=$temporary
fi
cd "$folder"

started=
stop() {
    trap - EXIT INT TERM HUP
    for process in $started; do
        kill "$process" 2>/dev/null || true
    done
    wait
    [ -z "$temporary" ] || rm -rf "$temporary"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Waits until a file has a line, and gives what stands behind these words in it.
said() {
    tries=0
    until found=$(sed -n "s|.*$2\(http://[0-9.:]*\).*|\1|p" "$1" 2>/dev/null | head -n 1) &&
        [ -n "$found" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "This did not start in time:" >&2
            cat "$1" >&2
            exit 1
        fi
        sleep 0.1
    done
    echo "$found"
}

# The providers, and the keys that they would have sent by mail.
random() { python3 -c 'import secrets; print(secrets.token_hex(16))'; }
MAPS_KEY=map-$(random)
SMS_ACCOUNT=acct-$(random)
SMS_TOKEN=sms-$(random)
printf '%s' "$MAPS_KEY" > maps.key
printf '%s' "$SMS_ACCOUNT" > sms.account
printf '%s' "$SMS_TOKEN" > sms.token
MAPS_KEY=$MAPS_KEY SMS_ACCOUNT=$SMS_ACCOUNT SMS_TOKEN=$SMS_TOKEN \
    python3 "$here/providers.py" > providers.log 2>&1 &
started="$started $!"

# Keyreeve, with a data folder of its own. On its own machine the local socket needs no key.
export KEYREEVE_DATA_DIR="$folder/data"
"$keyreeve" serve --listen 127.0.0.1:0 > keyreeve.log 2>&1 &
started="$started $!"
keyreeve_url=$(said keyreeve.log 'serving url=')
maps_url=$(said providers.log 'maps ')
sms_url=$(said providers.log 'sms ')

# The backend's own key: it may make tokens, for what it may call itself.
"$keyreeve" key create --name web-backend --permission keyreeve.client-tokens.create \
    --permission keyreeve.connections.maps.call --permission keyreeve.connections.sms.call \
    > backend.key 2> setup.log
python3 "$here/backend.py" --port "${PORT:-0}" --keyreeve "$keyreeve_url" --key-file backend.key \
    > backend.log 2>&1 &
started="$started $!"
page=$(said backend.log 'page ')

# The providers' keys go into the vault, and each connection says what they may be used for.
{
    "$keyreeve" secret put production/maps key=- < maps.key
    "$keyreeve" connection add maps --base-url "$maps_url" --allow-internal --allow-plaintext \
        --secret production/maps --inject 'query:key={key}' \
        --origin "$page" --route 'GET /v1/*'
    "$keyreeve" secret put production/sms account=@sms.account token=@sms.token
    "$keyreeve" connection add sms --base-url "$sms_url" --allow-internal --allow-plaintext \
        --secret production/sms --inject 'basic={account}:{token}' \
        --origin "$page" --route 'POST /v1/messages' --rate 30/1m --max-request-bytes 4096
} >> setup.log 2>&1 || {
    cat setup.log >&2
    exit 1
}

cat <<END
page      $page/
keyreeve  $keyreeve_url
maps      $maps_url/desk
sms       $sms_url/desk
folder    $folder

Open the page. Ctrl-C ends everything.
END

# Runs until one of them ends, or somebody ends this.
while :; do
    for process in $started; do
        kill -0 "$process" 2>/dev/null || {
            echo "Something ended by itself; its log is in $folder." >&2
            temporary=
            exit 1
        }
    done
    sleep 1
done
