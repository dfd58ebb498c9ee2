#!/bin/sh
#
# A router box: whatever the clients' networks send to port 443 goes to sekisho on this box, and nowhere else.
# The same as ../nftables/router.nft, for hosts that are run with iptables.
#
#   load, again and again   router.sh apply      each table in one transaction
#   check, changing nothing router.sh check
#   look, with counters     router.sh show
#   undo                    router.sh remove     the box then forwards as its kernel is set to
#
# Addresses and ports to change are in the next six lines; with a listener for plain HTTP as well, GATES="443:8443 80:8080".
# An empty CLIENTS6 still keeps IPv6's port 443 shut.

CLIENTS4="10.20.0.0/16"
CLIENTS6="2001:db8:20::/64"
GATES="443:8443"
# What clients may send through this box besides, as protocol:port. Empty: nothing. Each is a way out that nobody looks
# into; queries to a resolver that answers any name (udp:53) are one too.
PASSED=""

# What fails closed:
#  - Nobody listens on the gate's port: the connection has been redirected all the same, and this kernel resets it.
#  - A connection was open before these rules were (only a connection's first packet is redirected): it is reset below.
#  - These rules are not there at all: net.ipv4.ip_forward and net.ipv6.conf.all.forwarding decide. Leave both at 0 unless
#    something is in PASSED: a redirected connection ends on this box and needs no forwarding.
#
# The gate's own port may be reached without a redirect, and is left so: sekisho resets such a connection and records it
# as `not_redirected`, which says more than a rule here would. The gate dials from this box itself, which no rule below
# sees, so it cannot meet itself.

set -eu

# A chain that is named with a colon is made, or emptied, in the same transaction that fills it.
chains() {
    networks=$1
    echo "*nat"
    echo ":SEKISHO_ROUTER - [0:0]"
    for network in $networks; do
        for pair in $GATES; do
            port=${pair%%:*}
            echo "-A SEKISHO_ROUTER -s $network -p tcp --dport $port -j REDIRECT --to-ports ${pair##*:}"
            # QUIC shows no name that could be read. Brought to this box, and rejected there (SEKISHO_QUIC): so that it
            # is rejected, not dropped, whether this box forwards or not. Clients then fall back to TCP at once.
            echo "-A SEKISHO_ROUTER -s $network -p udp --dport $port -j REDIRECT --to-ports $port"
        done
    done
    echo "COMMIT"

    echo "*filter"
    echo ":SEKISHO_QUIC - [0:0]"
    echo ":SEKISHO_FORWARD - [0:0]"
    echo ":SEKISHO_OTHERS - [0:0]"
    echo ":SEKISHO_REFUSE - [0:0]"
    # Whoever sent it: what was redirected is not forwarded, so what is forwarded was not redirected.
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
    for own in "nat SEKISHO_ROUTER" "filter SEKISHO_QUIC" "filter SEKISHO_FORWARD" "filter SEKISHO_OTHERS" \
        "filter SEKISHO_REFUSE"; do
        "$iptables" --wait 10 -t "${own% *}" -F "${own#* }" 2>/dev/null || :
    done
    for own in "nat SEKISHO_ROUTER" "filter SEKISHO_QUIC" "filter SEKISHO_FORWARD" "filter SEKISHO_OTHERS" \
        "filter SEKISHO_REFUSE"; do
        "$iptables" --wait 10 -t "${own% *}" -X "${own#* }" 2>/dev/null || :
    done
}

case ${1:-} in
apply)
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
    ;;
remove)
    remove iptables
    remove ip6tables
    ;;
*)
    echo "usage: $0 apply | check | show | remove" >&2
    exit 2
    ;;
esac
