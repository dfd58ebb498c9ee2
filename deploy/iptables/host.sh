#!/bin/sh
#
# One host with sekisho on it: whatever its own programs send to port 443 goes to sekisho, and nowhere else.
# The same as ../nftables/host.nft, for hosts that are run with iptables.
#
#   load, again and again   host.sh apply        each table in one transaction
#   check, changing nothing host.sh check
#   look, with counters     host.sh show
#   undo                    host.sh remove       everything on the host then dials for itself
#
# The gate listens on loopback (bind 127.0.0.1:8443 and [::1]:8443, destination: redirect). Its user must exist before
# this is loaded. What to change is in the next three lines; with a listener for plain HTTP as well, GATES="443:8443 80:8080".

GATE_USER="sekisho"
GATES="443:8443"
MARK=0x5e15

# Loops are avoided by user: sekisho's own connections are the only ones that leave. So nothing else may run as that user,
# and root can leave in any way it likes: these rules bind the programs of ordinary users.
#
# What fails closed:
#  - Nobody listens on the gate's port: the connection has been redirected all the same, and this kernel resets it.
#  - A connection was open before these rules were, or has no user (the kernel's own): it is reset below.

set -eu

# A chain that is named with a colon is made, or emptied, in the same transaction that fills it.
chains() {
    echo "*nat"
    echo ":SEKISHO_HOST - [0:0]"
    echo "-A SEKISHO_HOST -o lo -j RETURN"
    echo "-A SEKISHO_HOST -m owner --uid-owner $GATE_USER -j RETURN"
    for pair in $GATES; do
        echo "-A SEKISHO_HOST -p tcp --dport ${pair%%:*} -j REDIRECT --to-ports ${pair##*:}"
    done
    echo "COMMIT"

    echo "*filter"
    echo ":SEKISHO_LEAVE - [0:0]"
    echo ":SEKISHO_HTTPS - [0:0]"
    echo "-A SEKISHO_LEAVE -o lo -j RETURN"
    for pair in $GATES; do
        echo "-A SEKISHO_LEAVE -p tcp --dport ${pair%%:*} -g SEKISHO_HTTPS"
        echo "-A SEKISHO_LEAVE -p udp --dport ${pair%%:*} -g SEKISHO_HTTPS"
    done
    # QUIC shows no name that could be read. Rejected, not dropped: clients then fall back to TCP at once.
    echo "-A SEKISHO_HTTPS -p udp -j REJECT"
    # A socket that was closed with bytes still to deliver has no user any more, so the connection is marked.
    echo "-A SEKISHO_HTTPS -m owner --uid-owner $GATE_USER -j CONNMARK --set-mark $MARK"
    echo "-A SEKISHO_HTTPS -m connmark --mark $MARK -j RETURN"
    # Neither redirected above nor the gate's.
    echo "-A SEKISHO_HTTPS -p tcp -j REJECT --reject-with tcp-reset"
    echo "COMMIT"
}

# Table, built-in chain and own chain of each way in.
hooks() {
    echo "filter OUTPUT SEKISHO_LEAVE"
    echo "nat OUTPUT SEKISHO_HOST"
}

apply() {
    chains | "$1-restore" --noflush --wait 10
    hooks | while read -r table builtin own; do
        "$1" --wait 10 -t "$table" -C "$builtin" -j "$own" 2>/dev/null ||
            "$1" --wait 10 -t "$table" -I "$builtin" -j "$own"
    done
}

check() {
    chains | "$1-restore" --test --noflush --wait 10
}

show() {
    for own in "nat SEKISHO_HOST" "filter SEKISHO_HTTPS"; do
        "$1" --wait 10 -t "${own% *}" -nvL "${own#* }"
    done
}

remove() {
    hooks | while read -r table builtin own; do
        while "$1" --wait 10 -t "$table" -D "$builtin" -j "$own" 2>/dev/null; do :; done
    done
    for own in "nat SEKISHO_HOST" "filter SEKISHO_LEAVE" "filter SEKISHO_HTTPS"; do
        "$1" --wait 10 -t "${own% *}" -F "${own#* }" 2>/dev/null || :
    done
    for own in "nat SEKISHO_HOST" "filter SEKISHO_LEAVE" "filter SEKISHO_HTTPS"; do
        "$1" --wait 10 -t "${own% *}" -X "${own#* }" 2>/dev/null || :
    done
}

case ${1:-} in
apply | check | show | remove)
    "$1" iptables
    "$1" ip6tables
    ;;
*)
    echo "usage: $0 apply | check | show | remove" >&2
    exit 2
    ;;
esac
