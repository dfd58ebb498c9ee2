#!/bin/sh
#
# One host with sekisho on it, beside host.sh or tproxy-host.sh: whatever else its ordinary users' programs send is refused.
# The same as ../nftables/host-rest.nft, for hosts that are run with iptables.
#
#   load, again and again   host-rest.sh apply      one transaction for each family
#   check, changing nothing host-rest.sh check
#   look, with counters     host-rest.sh show
#   undo                    host-rest.sh remove
#
# What to change is in the next two lines. Users without limits: root, the gate's, and whatever the host's own services run
# as, such as a resolver (systemd-resolve) or a clock (systemd-timesync, _chrony). They must exist before this is loaded, and
# no program of anybody else's may run as one of them.

FREE="0 sekisho"
# What everybody may send besides, as protocol:port. Empty: nothing. Each is a way out that nobody looks into; queries to a
# resolver that answers any name (udp:53) are one too.
PASSED=""
TPROXY_MARK=0x5e16

set -eu

# A chain that is named with a colon is made, or emptied, in the same transaction that fills it.
chains() {
    echo "*filter"
    echo ":SEKISHO_REST - [0:0]"
    echo ":SEKISHO_REFUSED - [0:0]"
    # To this host itself, and so what has been redirected to the gate; what TPROXY brings back in by loopback.
    echo "-A SEKISHO_REST -m addrtype --dst-type LOCAL -j RETURN"
    echo "-A SEKISHO_REST -m mark --mark $TPROXY_MARK -j RETURN"
    # Answers to connections that came from elsewhere; ICMP errors that belong to something.
    echo "-A SEKISHO_REST -m conntrack --ctdir REPLY -j RETURN"
    echo "-A SEKISHO_REST -m conntrack --ctstate RELATED -j RETURN"
    for pass in $PASSED; do
        echo "-A SEKISHO_REST -p ${pass%%:*} --dport ${pass##*:} -j RETURN"
    done
    for user in $FREE; do
        echo "-A SEKISHO_REST -m owner --uid-owner $user -j RETURN"
    done
    # The kernel's own packets, as those that look for neighbours, have no socket.
    echo "-A SEKISHO_REST -m owner --socket-exists -g SEKISHO_REFUSED"
    echo "-A SEKISHO_REFUSED -p tcp -j REJECT --reject-with tcp-reset"
    echo "-A SEKISHO_REFUSED -j REJECT"
    echo "COMMIT"
}

apply() {
    chains | "$1-restore" --noflush --wait 10
    "$1" --wait 10 -C OUTPUT -j SEKISHO_REST 2>/dev/null || "$1" --wait 10 -A OUTPUT -j SEKISHO_REST
}

check() {
    chains | "$1-restore" --test --noflush --wait 10
}

show() {
    "$1" --wait 10 -nvL SEKISHO_REST
}

remove() {
    while "$1" --wait 10 -D OUTPUT -j SEKISHO_REST 2>/dev/null; do :; done
    for own in SEKISHO_REST SEKISHO_REFUSED; do
        "$1" --wait 10 -F "$own" 2>/dev/null || :
    done
    for own in SEKISHO_REST SEKISHO_REFUSED; do
        "$1" --wait 10 -X "$own" 2>/dev/null || :
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
