#!/bin/sh
#
# A router box with TPROXY: whatever the clients' networks send to port 443 goes to sekisho on this box, and nowhere else.
# The same as ../nftables/tproxy-router.nft, for hosts that are run with iptables; its rules and routes of `ip` as well.
#
#   load, again and again   tproxy-router.sh apply      each table in one transaction
#   check, changing nothing tproxy-router.sh check
#   look, with counters     tproxy-router.sh show
#   undo                    tproxy-router.sh remove     the box then forwards as its kernel is set to
#
# Not beside router.sh, which is the same by REDIRECT: remove the one before the other is loaded.
#
# Addresses and ports to change are in the next eight lines; with a listener for plain HTTP as well, GATES="443:8443 80:8080".
# An empty CLIENTS6 still keeps IPv6's port 443 shut.

CLIENTS4="10.20.0.0/16"
CLIENTS6="2001:db8:20::/64"
GATES="443:8443"
# What is marked so is taken for this host's own, by the routing table of that number.
MARK=0x5e16
TABLE=24086
# What clients may send through this box besides, as protocol:port. Empty: nothing. Each is a way out that nobody looks
# into; queries to a resolver that answers any name (udp:53) are one too.
PASSED=""

# What fails closed:
#  - Nobody listens on the gate's port, or not by a transparent socket: TPROXY drops what it was to hand over. Clients then
#    wait; the rules for nftables reset such a connection.
#  - The rule or route of `ip` is missing: the kernel does not forward what TPROXY has given to a socket.
#  - A connection was open before these rules were: the gate's kernel, which knows nothing of it, resets it.
#  - These rules are not there at all: net.ipv4.ip_forward and net.ipv6.conf.all.forwarding decide. Leave both at 0 unless
#    something is in PASSED: what TPROXY takes ends on this box and needs no forwarding.
#
# The gate's own port may be dialled itself, and is left so: sekisho resets such a connection and records it as
# `not_redirected`, which says more than a rule here would. What this box sends to itself comes in by `lo`, which is left
# alone: so the gate cannot meet itself.

set -eu

# A chain that is named with a colon is made, or emptied, in the same transaction that fills it.
chains() {
    networks=$1
    echo "*mangle"
    echo ":SEKISHO_ROUTER - [0:0]"
    echo "-A SEKISHO_ROUTER -i lo -j RETURN"
    for network in $networks; do
        for pair in $GATES; do
            echo "-A SEKISHO_ROUTER -s $network -p tcp --dport ${pair%%:*} -j TPROXY --on-port ${pair##*:} --tproxy-mark $MARK"
        done
    done
    echo "COMMIT"

    # QUIC shows no name that could be read. Redirected to this box, and rejected there (SEKISHO_QUIC): so that it is
    # rejected, not dropped, whether this box forwards or not. Clients then fall back to TCP at once. (The kernel sends an
    # error from an address of its own only, so a mark would not do.)
    echo "*nat"
    echo ":SEKISHO_ROUTER - [0:0]"
    for network in $networks; do
        for pair in $GATES; do
            port=${pair%%:*}
            echo "-A SEKISHO_ROUTER -s $network -p udp --dport $port -j REDIRECT --to-ports $port"
        done
    done
    echo "COMMIT"

    echo "*filter"
    echo ":SEKISHO_QUIC - [0:0]"
    echo ":SEKISHO_FORWARD - [0:0]"
    echo ":SEKISHO_OTHERS - [0:0]"
    echo ":SEKISHO_REFUSE - [0:0]"
    # Whoever sent it: what TPROXY took is not forwarded, so what is forwarded was not taken.
    for pair in $GATES; do
        echo "-A SEKISHO_FORWARD -p tcp --dport ${pair%%:*} -g SEKISHO_REFUSE"
        echo "-A SEKISHO_FORWARD -p udp --dport ${pair%%:*} -g SEKISHO_REFUSE"
    done
    for network in $networks; do
        for pair in $GATES; do
            echo "-A SEKISHO_QUIC -s $network -p udp --dport ${pair%%:*} -j REJECT"
        done
        echo "-A SEKISHO_FORWARD -s $network -g SEKISHO_OTHERS"
    done
    # Answers to connections that came to the clients from elsewhere; ICMP errors that belong to something.
    echo "-A SEKISHO_OTHERS -m conntrack --ctdir REPLY -j RETURN"
    echo "-A SEKISHO_OTHERS -m conntrack --ctstate RELATED -j RETURN"
    for pass in $PASSED; do
        echo "-A SEKISHO_OTHERS -p ${pass%%:*} --dport ${pass##*:} -j RETURN"
    done
    echo "-A SEKISHO_OTHERS -g SEKISHO_REFUSE"
    echo "-A SEKISHO_REFUSE -p tcp -j REJECT --reject-with tcp-reset"
    echo "-A SEKISHO_REFUSE -j REJECT"
    echo "COMMIT"
}

# Table, built-in chain and own chain of each way in.
hooks() {
    echo "filter FORWARD SEKISHO_FORWARD"
    echo "filter INPUT SEKISHO_QUIC"
    echo "nat PREROUTING SEKISHO_ROUTER"
    echo "mangle PREROUTING SEKISHO_ROUTER"
}

apply() {
    iptables=$1
    chains "$2" | "$iptables-restore" --noflush --wait 10
    hooks | while read -r table builtin own; do
        "$iptables" --wait 10 -t "$table" -C "$builtin" -j "$own" 2>/dev/null ||
            "$iptables" --wait 10 -t "$table" -I "$builtin" -j "$own"
    done
}

check() {
    chains "$2" | "$1-restore" --test --noflush --wait 10
}

show() {
    hooks | while read -r table _ own; do
        "$1" --wait 10 -t "$table" -nvL "$own"
    done
    "$1" --wait 10 -nvL SEKISHO_OTHERS
}

remove() {
    iptables=$1
    hooks | while read -r table builtin own; do
        while "$iptables" --wait 10 -t "$table" -D "$builtin" -j "$own" 2>/dev/null; do :; done
    done
    for own in "mangle SEKISHO_ROUTER" "nat SEKISHO_ROUTER" "filter SEKISHO_QUIC" "filter SEKISHO_FORWARD" \
        "filter SEKISHO_OTHERS" "filter SEKISHO_REFUSE"; do
        "$iptables" --wait 10 -t "${own% *}" -F "${own#* }" 2>/dev/null || :
    done
    for own in "mangle SEKISHO_ROUTER" "nat SEKISHO_ROUTER" "filter SEKISHO_QUIC" "filter SEKISHO_FORWARD" \
        "filter SEKISHO_OTHERS" "filter SEKISHO_REFUSE"; do
        "$iptables" --wait 10 -t "${own% *}" -X "${own#* }" 2>/dev/null || :
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
    apply iptables "$CLIENTS4"
    apply ip6tables "$CLIENTS6"
    ;;
check)
    check iptables "$CLIENTS4"
    check ip6tables "$CLIENTS6"
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
