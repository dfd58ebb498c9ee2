//! For how long an answer is kept, and when the servers are asked again.

use super::*;

#[test]
fn an_unknown_name_is_to_be_asked_for() {
    let mut world = World::new();
    let name = host("new.example");
    assert_eq!((world.look(&name), world.read(&name)), (Look::Ask, None));
    assert_eq!(world.cache.next_due(), None);
}

#[test]
fn a_ttl_is_clamped_both_ways() {
    for (ttl, kept) in [(0, 5), (1, 5), (5, 5), (6, 6), (299, 299), (300, 300), (301, 300), (86_400, 300)] {
        let (mut world, name) = (World::new(), host("b.example"));
        let start = world.now;
        let Look::Fresh(answer) = world.hear_v4(&name, &[1], ttl) else { panic!("no answer") };
        assert_eq!(answer.expires, start + SECOND * kept, "a TTL of {ttl} s");
        world.now = answer.expires;
        assert_eq!(world.read(&name).unwrap(), [".1"]);
        world.now += Duration::from_millis(1);
        assert_eq!((world.read(&name), world.look(&name)), (None, Look::Ask));
    }
}

#[test]
fn a_name_in_use_is_refreshed_at_80_percent_of_its_ttl() {
    for (ttl, at) in [(6, 4_800), (10, 8_000), (60, 48_000), (300, 240_000)] {
        let (mut world, name) = (World::new(), host("b.example"));
        world.hear_v4(&name, &[1], ttl);
        assert_eq!(world.poll_for(SECOND * 1000), [refresh(at, &name)]);
    }
}

#[test]
fn a_short_ttl_leaves_the_refresh_the_time_to_find_every_server_silent() {
    let second = Settings { ttl_min: SECOND, ..Settings::default() };
    for (ttl, at) in [(1, 500), (2, 1_000), (3, 1_875), (4, 2_875), (5, 3_875)] {
        let (mut world, name) = (World::with(second.clone()), host("b.example"));
        world.hear_v4(&name, &[1], ttl);
        assert_eq!(world.poll_for(SECOND * 10), [refresh(at, &name)], "a TTL of {ttl} s");
    }
}

#[test]
fn a_name_is_refreshed_while_it_was_used_in_the_last_minute_and_then_no_more() {
    let (mut world, name) = (World::new(), host("b.example"));
    let mut refreshes = 0;
    world.hear_v4(&name, &[1], 5);
    loop {
        match world.poll_for(SECOND * 100).as_slice() {
            [] => break,
            [(at, Due::Refresh(_))] => {
                refreshes += 1;
                world.now = world.epoch + Duration::from_millis(u64::try_from(*at).unwrap());
                world.hear_v4(&name, &[1], 5);
            }
            other => panic!("{other:?}"),
        }
    }
    // Every 3.875 s from the only use, the lookup itself, to the last within 60 s of it.
    assert_eq!(refreshes, 15);
}

#[test]
fn a_reader_s_use_keeps_a_name_refreshed() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 50);
    world.pass(SECOND * 30);
    world.read(&name).unwrap();
    assert_eq!(world.poll_for(SECOND * 10), [refresh(40_000, &name)]);
    world.hear_v4(&name, &[1], 50);
    // Used 50 s before it is due: still in use. Not used since: 90 s, so no more.
    assert_eq!(world.poll_for(SECOND * 40), [refresh(80_000, &name)]);
    world.hear_v4(&name, &[1], 50);
    world.pass(SECOND * 1000);
}

#[test]
fn a_long_ttl_counts_as_its_time_of_use() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 300);
    assert_eq!(world.poll_for(SECOND * 300), [refresh(240_000, &name)]);
    world.cache.answered(&name, Some(v4(&[1], 300)), Some(nodata(9)), world.now);
    world.pass(SECOND * 300);
}

#[test]
fn a_denial_is_kept_for_the_soa_s_time_but_at_most_30_seconds() {
    for denial in [nodata, nxdomain] {
        for (ttl, kept) in [(0, 1), (1, 1), (7, 7), (30, 30), (31, 30), (86_400, 30)] {
            let (mut world, name) = (World::new(), host("none.example"));
            assert_eq!(world.hear(&name, denial(ttl), denial(ttl)), Look::NotFound);
            world.pass(almost(kept));
            assert_eq!(world.look(&name), Look::NotFound, "a TTL of {ttl} s");
            world.pass(Duration::from_millis(1));
            assert_eq!(world.look(&name), Look::Ask, "a TTL of {ttl} s");
            assert_eq!(world.cache.slots.len(), 0);
        }
    }
}

#[test]
fn the_shorter_of_two_denials_counts_and_one_without_a_soa_is_kept_for_a_second() {
    for (v4, v6, kept) in [
        (nodata(20), nodata(10), 10),
        (nxdomain(10), nodata(20), 10),
        (Ok(Reply::NoData { ttl: None }), nodata(20), 20),
        (Ok(Reply::NoName { ttl: None }), Ok(Reply::NoName { ttl: None }), 1),
    ] {
        let (mut world, name) = (World::new(), host("none.example"));
        world.hear(&name, v4, v6);
        world.pass(almost(kept));
        assert_eq!(world.look(&name), Look::NotFound);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.look(&name), Look::Ask);
    }
}

#[test]
fn nxdomain_for_one_family_is_about_the_name_whatever_the_other_does() {
    let (mut world, name) = (World::new(), host("none.example"));
    assert_eq!(world.hear(&name, nxdomain(9), SERVFAIL), Look::NotFound);
    assert_eq!(world.hear(&name, SERVFAIL, nxdomain(9)), Look::NotFound);
}

#[test]
fn a_name_that_comes_into_being_is_served_again() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    world.hear(&name, nxdomain(9), nxdomain(9));
    assert_eq!((world.read(&name), world.look(&name)), (None, Look::NotFound));
    // Nothing of before the denial.
    assert_eq!(fresh(&world.hear_v4(&name, &[2], 5)), [".2"]);
    assert_eq!(world.read(&name).unwrap(), [".2"]);
}
