#!/bin/sh
# Runs a command with a newer RabbitMQ in the system's place: Debian sid's, with its Erlang, in a chroot of 500 MB.
# The first time it is installed, in about a minute; rm -rf FOLDER removes it. Needs root, and the system's own
# RabbitMQ (make install-servers), which stays as it is: only the command and what it starts see the newer one.
#
#   tests/support/newer_rabbitmq.sh FOLDER .venv/bin/python -m pytest tests/acceptance/test_pipeline.py
set -eu
ROOT=${1:?which folder? The comment at the top tells the rest}
ENTER=$ROOT/programs/enter
shift

# Each program runs in the chroot with the caller's environment and pid. The mounts are its own and end with it; what
# the tests and the demo keep for their servers lies in /tmp.
write_programs() {
    mkdir -p "$ROOT/programs"
    cat >"$ENTER" <<PROGRAM
#!/bin/sh
exec unshare --mount --propagation private sh -ec '
    for folder in /dev /tmp; do mount --rbind \$folder "$ROOT\$folder"; done
    mount -t proc proc "$ROOT/proc"
    exec chroot "$ROOT" "\$@"' sh "\$@"
PROGRAM
    chmod 755 "$ENTER"
    for name in rabbitmq-server rabbitmqctl; do
        printf '#!/bin/sh\nexec "%s" /usr/lib/rabbitmq/bin/%s "$@"\n' "$ENTER" $name >"$ROOT/programs/$name"
        chmod 755 "$ROOT/programs/$name"
    done
}

install_rabbitmq() {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian/*$')
    debootstrap --variant=minbase sid "$ROOT" "$mirror"
    cp /etc/hosts /etc/resolv.conf "$ROOT/etc/"
    printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d" # packages start no service
    chmod 755 "$ROOT/usr/sbin/policy-rc.d"
    "$ENTER" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server
}

write_programs
[ -x "$ROOT/usr/lib/rabbitmq/bin/rabbitmq-server" ] || install_rabbitmq
export ROOT
exec unshare --mount --propagation private sh -ec '
    mount --bind "$ROOT/programs" /usr/lib/rabbitmq/bin
    exec "$@"' sh "$@"
