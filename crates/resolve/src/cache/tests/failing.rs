//! What serves while the servers fail, and for how long (RFC 8767, RFC 9520).

use super::*;

fn fail(world: &mut World, name: &Name) -> Look {
    world.hear(name, SERVFAIL, Err("no server answered in time"))
}

#[test]
fn a_failure_is_kept_one_second_then_two_then_four_and_never_above_five() {
    let (mut world, name) = (World::new(), host("down.example"));
    for kept in [1, 2, 4, 5, 5, 5] {
        assert_eq!(fail(&mut world, &name), Look::Failed("no server answered in time"));
        world.pass(almost(kept));
        assert!(matches!(world.look(&name), Look::Failed(_)), "before {kept} s");
        world.pass(Duration::from_millis(1));
        assert_eq!(world.look(&name), Look::Ask, "after {kept} s");
    }
}

#[test]
fn failures_are_counted_anew_after_a_denial_or_a_rest() {
    type Event = fn(&mut World, &Name);
    let events: [Event; 2] =
        [|world, name| drop(world.hear(name, nxdomain(1), nxdomain(1))), |world, _| world.pass(SECOND * 10)];
    for event in events {
        let (mut world, name) = (World::new(), host("down.example"));
        for _ in 0..4 {
            fail(&mut world, &name);
        }
        event(&mut world, &name);
        fail(&mut world, &name);
        world.pass(SECOND);
        assert_eq!(world.look(&name), Look::Ask);
    }
}

#[test]
fn failures_are_counted_anew_after_an_answer() {
    let (mut world, name) = (World::new(), host("b.example"));
    for _ in 0..4 {
        fail(&mut world, &name);
    }
    world.hear_v4(&name, &[1], 5);
    for at in [1_000, 3_000, 7_000] {
        fail(&mut world, &name);
        assert_eq!(world.poll_for(SECOND * 5), [refresh(at, &name)]);
        world.now = world.epoch + Duration::from_millis(u64::try_from(at).unwrap());
    }
}

#[test]
fn a_failure_before_the_ttl_ends_leaves_the_answer_fresh() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 60);
    world.poll_for(SECOND * 48);
    assert_eq!(stale(&fail(&mut world, &name)), [".1"]);
    assert_eq!(fresh(&world.look(&name)), [".1"]);
    // And the servers are asked again when the failure is no longer kept.
    assert_eq!(world.poll_for(SECOND), [refresh(49_000, &name)]);
}

/// The readers of a name in use, through an outage in which every lookup takes `takes`: at which millisecond there was
/// first nothing to serve, if ever within `outage`. The thread wakes up to 7 ms late for everything.
fn first_gap(settings: Settings, takes: Duration, outage: Duration) -> Option<u128> {
    let (mut world, name) = (World::with(settings), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    let mut answers_at = None;
    while world.now < world.epoch + outage {
        if world.read(&name).is_none() {
            return Some(world.clock());
        }
        while let Some(due) = world.cache.poll(world.now) {
            if due == Due::Refresh(name.clone()) {
                assert_eq!(answers_at, None, "two lookups at a time");
                world.cache.asked(&name, world.now);
                answers_at = Some(world.now + takes);
            }
        }
        if answers_at.take_if(|at| *at <= world.now).is_some() {
            let look = world.cache.answered(&name, Some(SERVFAIL), Some(SERVFAIL), world.now);
            assert!(matches!(look, Look::Stale(_)), "{look:?}");
        }
        world.now += Duration::from_millis(7);
    }
    None
}

#[test]
fn a_name_in_use_has_no_gap_in_an_outage_however_long_a_lookup_takes() {
    for takes in [0, 10, 999, 1_000, 1_500, 2_500, 20_000] {
        let gap = first_gap(Settings::default(), Duration::from_millis(takes), SECOND * 120);
        assert_eq!(gap, None, "lookups of {takes} ms");
    }
}

#[test]
fn an_expired_answer_serves_for_serve_stale_and_no_longer() {
    for takes in [10, 1_500, 200_000] {
        let settings = Settings { serve_stale: SECOND * 60, ..Settings::default() };
        let gap = first_gap(settings, Duration::from_millis(takes), SECOND * 120).unwrap();
        // Its TTL of 5 s and the minute, to a step of the test's clock.
        assert!((65_000..=65_007).contains(&gap), "{gap} with lookups of {takes} ms");
    }
}

#[test]
fn without_serve_stale_an_answer_ends_with_its_ttl() {
    let settings = Settings { serve_stale: Duration::ZERO, ..Settings::default() };
    assert_eq!(first_gap(settings.clone(), SECOND * 20, SECOND * 30), Some(5_005));
    let (mut world, name) = (World::with(settings), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    world.now += SECOND * 6;
    assert!(matches!(fail(&mut world, &name), Look::Failed(_)));
    assert_eq!(world.read(&name), None);
}

#[test]
fn an_answer_is_never_served_beyond_its_ttl_before_the_servers_had_their_time() {
    // Not in use, so not refreshed: the next caller begins the lookup, and waits for it as long as one server may
    // take. Only then does the old answer serve.
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    world.poll_for(SECOND * 4);
    world.now = world.epoch + SECOND * 200;
    assert_eq!((world.read(&name), world.look(&name)), (None, Look::Ask));
    world.cache.asked(&name, world.now);
    world.pass(Duration::from_millis(999));
    assert_eq!((world.read(&name), world.look(&name)), (None, Look::Ask));
    let due = world.poll_for(Duration::from_millis(1));
    let [(201_000, Due::ServeStale(who, answer))] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((who, texts(answer), answer.expires), (&name, vec![".1".to_owned()], world.epoch + SECOND * 5));
    assert_eq!(stale(&world.look(&name)), [".1"]);
    // The lookup's answer takes its place.
    world.now += SECOND;
    let look = world.cache.answered(&name, Some(v4(&[2], 5)), Some(nodata(5)), world.now);
    assert_eq!(
        (fresh(&look), world.read(&name).unwrap()),
        (vec![".2".to_owned(), ".1".to_owned()], vec![".2".to_owned(), ".1".to_owned()])
    );
}

#[test]
fn a_denial_ends_what_serves_stale() {
    for denial in [nodata, nxdomain] {
        let (mut world, name) = (World::new(), host("b.example"));
        world.hear_v4(&name, &[1], 5);
        world.now += SECOND * 5;
        assert_eq!(stale(&fail(&mut world, &name)), [".1"]);
        assert_eq!(world.hear(&name, denial(20), denial(20)), Look::NotFound);
        assert_eq!((world.read(&name), world.look(&name)), (None, Look::NotFound));
        // A failure after it finds nothing old to serve.
        assert!(matches!(fail(&mut world, &name), Look::Failed(_)));
        assert_eq!(world.read(&name), None);
    }
}

#[test]
fn a_denied_family_does_not_serve_stale_while_the_other_fails() {
    let (mut world, name) = (World::new(), host("dual.example"));
    world.hear(&name, v4(&[1], 5), v6(&[6], 5));
    world.now += SECOND * 5;
    assert_eq!(stale(&world.hear(&name, nodata(9), SERVFAIL)), ["::6"]);
    assert_eq!(world.read(&name).unwrap(), ["::6"]);

    let (mut world, name) = (World::new(), host("four.example"));
    world.hear_v4(&name, &[1], 60);
    world.now += SECOND * 50;
    assert_eq!(world.hear(&name, nodata(9), SERVFAIL), Look::Failed("SERVFAIL"));
    // Not even what is left of its TTL: the family has been denied since.
    assert_eq!((world.read(&name), world.look(&name)), (None, Look::Failed("SERVFAIL")));
    world.now += SECOND;
    assert_eq!(fresh(&world.hear_v4(&name, &[2], 5)), [".2"]);
    assert_eq!(world.read(&name).unwrap(), [".2"]);
}

#[test]
fn a_lookup_that_never_ends_holds_no_answer_beyond_serve_stale() {
    let settings = Settings { serve_stale: SECOND * 10, ..Settings::default() };
    let (mut world, name) = (World::with(settings), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    world.cache.asked(&name, world.now);
    let due = world.poll_for(SECOND * 15);
    assert!(matches!(due.as_slice(), [(1_000, Due::ServeStale(..))]), "{due:?}");
    assert_eq!(world.read(&name).unwrap(), [".1"]);
    world.pass(SECOND);
    assert_eq!((world.read(&name), world.look(&name)), (None, Look::Ask));
}
