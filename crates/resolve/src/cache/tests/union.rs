//! Which addresses an answer has.

use super::*;

#[test]
fn the_union_of_recent_answers_comes_latest_first() {
    let (mut world, name) = (World::new(), host("b.s3.amazonaws.com"));
    assert_eq!(fresh(&world.hear_v4(&name, &[1, 2], 5)), [".1", ".2"]);
    world.now += SECOND;
    assert_eq!(fresh(&world.hear_v4(&name, &[3, 4], 5)), [".3", ".4", ".1", ".2"]);
    world.now += SECOND;
    // Seen again: to the front, and not twice.
    assert_eq!(fresh(&world.hear_v4(&name, &[2, 5], 5)), [".2", ".5", ".3", ".4", ".1"]);
    assert_eq!(world.read(&name).unwrap(), [".2", ".5", ".3", ".4", ".1"]);
}

#[test]
fn each_address_is_known_from_the_last_answer_of_its_family_or_from_an_earlier_one() {
    let (mut world, name) = (World::new(), host("dual.example"));
    let seen = |look: &Look, ip| match look {
        Look::Fresh(answer) => answer.seen(ip),
        other => panic!("{other:?} is not fresh"),
    };
    let first = world.hear(&name, v4(&[1, 2], 60), v6(&[6], 60));
    assert_eq!([ip4(1), ip4(2), ip6(6)].map(|ip| seen(&first, ip)), [Some(Seen::Now); 3]);
    assert_eq!([ip4(3), ip6(1)].map(|ip| seen(&first, ip)), [None; 2]);
    world.now += SECOND;
    // What one family says tells nothing of the other's last answer, and the oldest one still counts.
    let second = world.hear(&name, v4(&[2, 3], 60), SERVFAIL);
    assert_eq!([ip4(2), ip4(3), ip6(6)].map(|ip| seen(&second, ip)), [Some(Seen::Now); 3]);
    assert_eq!(seen(&second, ip4(1)), Some(Seen::Lately));
    assert_eq!(fresh(&second), [".2", ".3", "::6", ".1"]);
    world.now += SECOND;
    let third = world.hear(&name, SERVFAIL, v6(&[7], 60));
    assert_eq!((seen(&third, ip6(7)), seen(&third, ip6(6))), (Some(Seen::Now), Some(Seen::Lately)));
    assert_eq!(fresh(&third), ["::7", ".2", ".3", "::6", ".1"]);
}

#[test]
fn an_address_leaves_when_it_was_last_seen_ttl_max_ago() {
    let (mut world, name) = (World::new(), host("b.s3.amazonaws.com"));
    let start = world.now;
    world.hear_v4(&name, &[1], 5);
    for step in 1..=74 {
        world.now = start + SECOND * 4 * step;
        let answer = world.hear_v4(&name, &[2], 5);
        assert_eq!(fresh(&answer), [".2", ".1"], "after {} s", 4 * step);
    }
    world.now = start + SECOND * 300;
    assert_eq!(fresh(&world.hear_v4(&name, &[2], 5)), [".2"]);
}

#[test]
fn an_address_leaves_between_two_answers_too() {
    let (mut world, name) = (World::new(), host("long.example"));
    world.hear_v4(&name, &[1], 300);
    assert_eq!(world.poll_for(SECOND * 240), [refresh(240_000, &name)]);
    world.hear_v4(&name, &[2], 300);
    world.pass(almost(60));
    assert_eq!(world.read(&name).unwrap(), [".2", ".1"]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.read(&name).unwrap(), [".2"]);
    assert_eq!(fresh(&world.look(&name)), [".2"]);
}

#[test]
fn the_last_answer_s_own_addresses_stay_to_its_end_and_beyond() {
    let (mut world, name) = (World::new(), host("long.example"));
    world.hear_v4(&name, &[1], 300);
    world.poll_for(SECOND * 240);
    world.cache.asked(&name, world.now);
    world.poll_for(SECOND * 100);
    assert_eq!(stale(&world.look(&name)), [".1"]);
    world.cache.answered(&name, Some(SERVFAIL), Some(SERVFAIL), world.now);
    world.now += SECOND;
    assert_eq!(stale(&world.look(&name)), [".1"]);
}

#[test]
fn a_thread_that_wakes_too_late_still_finds_the_last_answer_to_serve() {
    let (mut world, name) = (World::new(), host("long.example"));
    world.hear_v4(&name, &[1], 300);
    world.now += SECOND * 100;
    world.read(&name).unwrap();
    world.now += SECOND * 201;
    assert_eq!(world.cache.poll(world.now), Some(Due::Refresh(name.clone())));
    assert_eq!(stale(&world.hear(&name, SERVFAIL, SERVFAIL)), [".1"]);
}

#[test]
fn addresses_stay_as_they_are_while_the_servers_fail() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 60);
    world.now += SECOND * 290;
    assert_eq!(fresh(&world.hear_v4(&name, &[2], 60)), [".2", ".1"]);
    world.read(&name).unwrap();
    world.pass(SECOND * 9);
    world.hear(&name, SERVFAIL, SERVFAIL);
    assert_eq!(world.poll_for(SECOND * 20), [refresh(300_000, &name)]);
    assert_eq!(world.read(&name).unwrap(), [".2", ".1"]);
    world.now = world.epoch + SECOND * 320;
    assert_eq!(stale(&world.hear(&name, SERVFAIL, SERVFAIL)), [".2", ".1"]);
}

#[test]
fn both_families_are_in_the_answer_under_the_shorter_ttl() {
    let (mut world, name) = (World::new(), host("dual.example"));
    let start = world.now;
    let Look::Fresh(answer) = world.hear(&name, v4(&[1], 60), v6(&[6], 20)) else { panic!("no answer") };
    assert_eq!(texts(&answer), ["::6", ".1"]);
    assert_eq!(answer.expires, start + SECOND * 20);
}

#[test]
fn one_family_s_failure_leaves_the_other_s_answer_fresh_and_its_own_recent_addresses_in_it() {
    let (mut world, name) = (World::new(), host("dual.example"));
    let start = world.now;
    world.hear(&name, v4(&[1], 60), v6(&[6], 60));
    world.now += SECOND * 100;
    assert_eq!(fresh(&world.hear(&name, v4(&[2], 300), SERVFAIL)), [".2", "::6", ".1"]);
    // Nothing has said that ::6 is gone, so it stays as long as any recent answer.
    assert_eq!(world.poll_until(start + SECOND * 299), []);
    assert_eq!(world.read(&name).unwrap(), [".2", "::6", ".1"]);
    assert_eq!(world.poll_until(start + SECOND * 300), []);
    assert_eq!(world.read(&name).unwrap(), [".2"]);
}

#[test]
fn a_name_with_one_family_only_is_a_good_name() {
    let (mut world, name) = (World::new(), host("six.example"));
    assert_eq!(fresh(&world.hear(&name, nodata(5), v6(&[6], 60))), ["::6"]);
    let other = host("half.example");
    assert_eq!(fresh(&world.hear(&other, SERVFAIL, v6(&[6], 60))), ["::6"]);
    let broken = host("broken.example");
    // A server that denies the whole name for the family it does not know (RFC 4074 §4.2).
    assert_eq!(fresh(&world.hear(&broken, v4(&[1], 60), nxdomain(5))), [".1"]);
}

#[test]
fn a_family_that_is_denied_goes_at_once() {
    for denial in [nodata(5), nxdomain(5)] {
        let (mut world, name) = (World::new(), host("dual.example"));
        world.hear(&name, v4(&[1], 60), v6(&[6], 60));
        world.now += SECOND;
        assert_eq!(fresh(&world.hear(&name, v4(&[2], 60), denial)), [".2", ".1"]);
    }
}

#[test]
fn a_late_family_joins() {
    let (mut world, name) = (World::new(), host("slow6.example"));
    let start = world.now;
    world.cache.asked(&name, world.now);
    let first = world.cache.answered(&name, Some(v4(&[1], 60)), None, world.now);
    assert_eq!(fresh(&first), [".1"]);
    world.pass(SECOND);
    world.cache.late(&name, false, v6(&[6], 300), world.now);
    let Look::Fresh(answer) = world.look(&name) else { panic!("no answer") };
    assert_eq!(texts(&answer), ["::6", ".1"]);
    assert_eq!(world.read(&name).unwrap(), ["::6", ".1"]);
    // The longer TTL of the latecomer does not prolong the other's.
    assert_eq!(answer.expires, start + SECOND * 60);
    assert_eq!(world.poll_for(SECOND * 47), [refresh(48_000, &name)]);
}

#[test]
fn a_late_family_s_shorter_ttl_counts_for_both() {
    let (mut world, name) = (World::new(), host("slow4.example"));
    world.cache.answered(&name, None, Some(v6(&[6], 300)), world.now);
    world.pass(SECOND);
    world.cache.late(&name, true, v4(&[1], 10), world.now);
    let Look::Fresh(answer) = world.look(&name) else { panic!("no answer") };
    assert_eq!((texts(&answer), answer.expires), (vec![".1".to_owned(), "::6".to_owned()], world.now + SECOND * 10));
    assert_eq!(world.poll_for(SECOND * 10), [refresh(9_000, &name)]);
}

#[test]
fn a_late_denial_ends_its_family_and_a_late_failure_nothing() {
    let (mut world, name) = (World::new(), host("dual.example"));
    world.hear(&name, v4(&[1], 60), v6(&[6], 60));
    world.now += SECOND;
    world.cache.answered(&name, Some(v4(&[2], 60)), None, world.now);
    world.cache.late(&name, false, SERVFAIL, world.now);
    assert_eq!(world.read(&name).unwrap(), [".2", "::6", ".1"]);
    world.cache.late(&name, false, nodata(5), world.now);
    assert_eq!(world.read(&name).unwrap(), [".2", ".1"]);
}

#[test]
fn a_late_reply_changes_nothing_once_the_servers_have_said_something_else() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.cache.late(&name, false, v6(&[6], 60), world.now);
    assert_eq!(world.look(&name), Look::Ask);

    world.cache.answered(&name, Some(v4(&[1], 60)), None, world.now);
    world.hear(&name, nxdomain(9), nxdomain(9));
    world.cache.late(&name, false, v6(&[6], 60), world.now);
    assert_eq!((world.look(&name), world.read(&name)), (Look::NotFound, None));

    // An older lookup's denial cannot empty a newer one's answer.
    world.now += SECOND * 10;
    world.cache.answered(&name, Some(nodata(5)), Some(v6(&[7], 60)), world.now);
    world.cache.late(&name, false, nodata(5), world.now);
    assert_eq!(world.read(&name).unwrap(), ["::7"]);
}

#[test]
fn a_late_reply_does_not_shorten_what_serves_while_the_servers_are_asked_again() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.cache.answered(&name, Some(v4(&[1], 5)), None, world.now);
    assert_eq!(world.poll_for(SECOND * 4), [refresh(3_875, &name)]);
    world.cache.asked(&name, world.now);
    let due = world.poll_for(SECOND * 2);
    assert!(matches!(due.as_slice(), [(5_000, Due::ServeStale(..))]), "{due:?}");
    world.cache.late(&name, false, v6(&[6], 60), world.now);
    assert_eq!(stale(&world.look(&name)), [".1"]);
}

#[test]
fn neither_family_crowds_the_other_out() {
    let (mut world, name) = (World::new(), host("many.example"));
    let all: Vec<u8> = (0..64).collect();
    world.hear(&name, v4(&all, 60), v6(&all, 60));
    world.now += SECOND;
    let more: Vec<u8> = (100..150).collect();
    let Look::Fresh(answer) = world.hear(&name, v4(&more, 60), v6(&more, 60)) else { panic!("no answer") };
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = answer.addresses.iter().partition(|ip| ip.is_ipv4());
    let expected = |ip: fn(u8) -> IpAddr| -> Vec<IpAddr> { (100..150).chain(0..14).map(ip).collect() };
    assert_eq!((four, six), (expected(ip4), expected(ip6)));
}
