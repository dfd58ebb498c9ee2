#!/bin/sh
#
# One host with sekisho on it, with TPROXY: whatever its own programs send to port 443 goes to sekisho, and nowhere else.
# The same as ../nftables/tproxy-host.nft, for hosts that are run with iptables; its rules and routes of `ip` as well.
#
#   load, again and again   tproxy-host.sh apply        each table in one transaction
#   check, changing nothing tproxy-host.sh check
#   look, with counters     tproxy-host.sh show
#   undo                    tproxy-host.sh remove       everything on the host then dials for itself
#
# Not beside host.sh, which is the same by REDIRECT: remove the one before the other is loaded.
#
# The gate listens on loopback (bind 127.0.0.1:8443 and [::1]:8443, destination: tproxy). Its user must exist before
# this is loaded. What to change is in the next seven lines; with a listener for plain HTTP as well, GATES="443:8443 80:8080".

GATE_USER="sekisho"
GATES="443:8443"
# Of the gate's own connections.
GATE_MARK=0x5e15
# What is marked so comes back in by loopback, by the routing table of that number.
MARK=0x5e16
TABLE=24086

# Loops are avoided by user: sekisho's own connections are the only ones that leave. So nothing else may run as that user,
# and root can leave in any way it likes: these rules bind the programs of ordinary users.
#
# What fails closed:
#  - Nobody listens on the gate's port, or not by a transparent socket: TPROXY drops what it was to hand over. Programs then
#    wait; the rules for nftables reset such a connection.
#  - The rule or route of `ip` is missing: what is marked and yet leaves by another interface is dropped below.
#  - A connection was open before these rules were, or has no user (the kernel's own): it is marked like any other, and
#    this kernel, which has no such connection of the gate's, resets it.

set -eu

# A chain that is named with a colon is made, or emptied, in the same transaction that fills it.
chains() {
    echo "*mangle"
    echo ":SEKISHO_HOST - [0:0]"
    echo ":SEKISHO_HTTPS - [0:0]"
    echo ":SEKISHO_TPROXY - [0:0]"
    echo ":SEKISHO_SHUT - [0:0]"
    echo "-A SEKISHO_HOST -o lo -j RETURN"
    for pair in $GATES; do
        port=${pair%%:*}
        echo "-A SEKISHO_HOST -p tcp --dport $port -g SEKISHO_HTTPS"
        echo "-A SEKISHO_TPROXY -i lo -m mark --mark $MARK -p tcp --dport $port -j TPROXY --on-port ${pair##*:}"
    done
    # A socket that was closed with bytes still to deliver has no user any more, so the gate's connections are marked.
    echo "-A SEKISHO_HTTPS -m owner --uid-owner $GATE_USER -j CONNMARK --set-mark $GATE_MARK"
    echo "-A SEKISHO_HTTPS -m connmark --mark $GATE_MARK -j RETURN"
    echo "-A SEKISHO_HTTPS -j MARK --set-mark $MARK"
    echo "-A SEKISHO_SHUT -m mark --mark $MARK ! -o lo -j DROP"
    echo "COMMIT"

    echo "*filter"
    echo ":SEKISHO_LEAVE - [0:0]"
    echo "-A SEKISHO_LEAVE -o lo -j RETURN"
    for pair in $GATES; do
        # QUIC shows no name that could be read. Rejected, not dropped: clients then fall back to TCP at once.
        echo "-A SEKISHO_LEAVE -p udp --dport ${pair%%:*} -j REJECT"
    done
    echo "COMMIT"
}

# Table, built-in chain and own chain of each way in.
hooks() {
    echo "filter OUTPUT SEKISHO_LEAVE"
    echo "mangle POSTROUTING SEKISHO_SHUT"
    echo "mangle PREROUTING SEKISHO_TPROXY"
    echo "mangle OUTPUT SEKISHO_HOST"
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
    for own in "mangle SEKISHO_HTTPS" "mangle SEKISHO_TPROXY" "mangle SEKISHO_SHUT" "filter SEKISHO_LEAVE"; do
        "$1" --wait 10 -t "${own% *}" -nvL "${own#* }"
    done
}

remove() {
    hooks | while read -r table builtin own; do
        while "$1" --wait 10 -t "$table" -D "$builtin" -j "$own" 2>/dev/null; do :; done
    done
    for own in "filter SEKISHO_LEAVE" "mangle SEKISHO_SHUT" "mangle SEKISHO_TPROXY" "mangle SEKISHO_HOST" \
        "mangle SEKISHO_HTTPS"; do
        "$1" --wait 10 -t "${own% *}" -F "${own#* }" 2>/dev/null || :
    done
    for own in "filter SEKISHO_LEAVE" "mangle SEKISHO_SHUT" "mangle SEKISHO_TPROXY" "mangle SEKISHO_HOST" \
        "mangle SEKISHO_HTTPS"; do
        "$1" --wait 10 -t "${own% *}" -X "${own#* }" 2>/dev/null || :
    done
}

# What is marked is this host's own, wherever it is addressed to. `$1` is 4 or 6.
route() {
    ip "-$1" route replace local default dev lo table "$TABLE"
    ip "-$1" rule list | grep -q "fwmark $MARK lookup $TABLE" || ip "-$1" rule add fwmark "$MARK" lookup "$TABLE"
}

unroute() {
    while ip "-$1" rule del fwmark "$MARK" lookup "$TABLE" 2>/dev/null; do :; done
    ip "-$1" route flush table "$TABLE" 2>/dev/null || :
}

case ${1:-} in
apply)
    route 4
    route 6
    apply iptables
    apply ip6tables
    ;;
check)
    check iptables
    check ip6tables
    ;;
show)
    show iptables
    show ip6tables
    ip -4 rule list
    ip -6 rule list
    ;;
remove)
    remove iptables
    remove ip6tables
    unroute 4
    unroute 6
    ;;
*)
    echo "usage: $0 apply | check | show | remove" >&2
    exit 2
    ;;
esac
