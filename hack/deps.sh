#!/bin/sh
# What the local cluster, the image builder and the tests of extraction need from Debian. Where
# everything is there it does nothing; where it cannot install it says what is missing.
set -eu

# program:package
wanted="
containerd:containerd
runc:runc
conntrack:conntrack
iptables:iptables
ip:iproute2
busybox:busybox-static
openssl:openssl
nsenter:util-linux
buildah:buildah
mmdebstrap:mmdebstrap
faketime:faketime
strace:strace
/usr/lib/cni/bridge:containernetworking-plugins
"

missing=""
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done

if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing" >&2
    echo "On Debian 12 or newer, as root: apt-get install$missing" >&2
    exit 1
  fi
  # Installing must not start a containerd: the cluster runs its own.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of words on purpose
  apt-get install -y -qq --no-install-recommends $missing
fi

if ! command -v go >/dev/null; then
  echo "missing: Go 1.26 or newer (https://go.dev/dl), to build Kubernetes from its modules" >&2
  exit 1
fi
