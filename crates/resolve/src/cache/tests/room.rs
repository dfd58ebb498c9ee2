//! How much is kept.

use super::*;

fn number(n: usize) -> Name {
    host(&format!("n{n}.example"))
}

fn small(max_names: usize) -> World {
    World::with(Settings { max_names, ..Settings::default() })
}

#[test]
fn no_more_names_are_kept_than_there_is_room_for() {
    let mut world = small(100);
    for n in 0..1000 {
        world.hear_v4(&number(n), &[1], 60);
        assert!(world.cache.slots.len() <= 100);
        assert_eq!(world.snapshot.list(world.now).len(), world.cache.slots.len());
        assert!(world.cache.agenda.len() <= 100);
    }
    assert!(world.read(&number(999)).is_some());
    assert!(world.cache.slots.len() > 90);
}

#[test]
fn the_least_recently_used_go_first() {
    let mut world = small(32);
    for n in 0..32 {
        world.hear_v4(&number(n), &[1], 300);
        world.now += SECOND;
    }
    for n in [0, 1, 2, 3, 5] {
        world.read(&number(n)).unwrap();
    }
    world.now += SECOND;
    world.hear_v4(&number(100), &[1], 300);
    let gone: Vec<usize> = (0..32).filter(|&n| !world.cache.slots.contains_key(&number(n))).collect();
    // A sixteenth at a time, so that a full cache is not gone through for every new name.
    assert_eq!(gone, [4, 6]);
    assert_eq!((world.read(&number(4)), world.look(&number(6))), (None, Look::Ask));
}

#[test]
fn names_without_an_address_go_before_any_that_serves() {
    let mut world = small(40);
    for n in 0..20 {
        world.hear_v4(&number(n), &[1], 300);
    }
    // A flood of names that do not exist, or fail, each used later than those that serve.
    for n in 20..1000 {
        world.now += Duration::from_millis(10);
        let denial = if n % 2 == 0 { nxdomain(30) } else { SERVFAIL };
        world.hear(&number(n), denial.clone(), denial);
    }
    assert!((0..20).all(|n| world.read(&number(n)).is_some()));
    assert!(world.cache.slots.len() <= 40);
}

#[test]
fn a_cache_of_one_name_works() {
    let mut world = small(0);
    for n in 0..3 {
        world.hear_v4(&number(n), &[1], 300);
        assert_eq!(world.cache.slots.len(), 1);
        assert!(world.read(&number(n)).is_some());
    }
}

#[test]
fn a_name_that_was_dropped_during_its_lookup_comes_back_with_the_answer() {
    let mut world = small(1);
    world.hear_v4(&number(0), &[1], 300);
    world.cache.asked(&number(0), world.now);
    world.hear_v4(&number(1), &[1], 300);
    assert_eq!(world.read(&number(0)), None);
    let look = world.cache.answered(&number(0), Some(v4(&[2], 300)), None, world.now);
    assert_eq!((fresh(&look), world.read(&number(0)).unwrap()), (vec![".2".to_owned()], vec![".2".to_owned()]));
}

#[test]
fn an_unused_name_goes_when_it_could_no_longer_serve() {
    let (mut world, name) = (World::new(), host("b.example"));
    world.hear_v4(&name, &[1], 5);
    world.now += SECOND * 100;
    world.pass(SECOND * 3504);
    assert_eq!(world.cache.slots.len(), 1);
    world.pass(SECOND);
    assert_eq!((world.cache.slots.len(), world.cache.next_due()), (0, None));
    assert!(world.snapshot.list(world.now).is_empty());
}

#[test]
fn extreme_settings_do_no_harm() {
    let most = Duration::MAX;
    let settings = Settings {
        ttl_min: most,
        ttl_max: most,
        serve_stale: most,
        negative_max: most,
        failure_ttl: most..=most,
        timeout: most,
        ..Settings::default()
    };
    let (mut world, name) = (World::with(settings), host("b.example"));
    fresh(&world.hear_v4(&name, &[1], u64::from(u32::MAX)));
    stale(&world.hear(&name, SERVFAIL, SERVFAIL));
    world.hear(&name, nxdomain(u64::from(u32::MAX)), nxdomain(0));

    let none = Duration::ZERO;
    let settings = Settings {
        ttl_min: none,
        ttl_max: none,
        serve_stale: none,
        negative_max: none,
        failure_ttl: none..=none,
        timeout: none,
        ..Settings::default()
    };
    let (mut world, name) = (World::with(settings), host("b.example"));
    let start = world.now;
    let Look::Fresh(answer) = world.hear_v4(&name, &[1], 0) else { panic!("no answer") };
    // Not even a record without a TTL is asked for without a rest.
    assert_eq!(answer.expires, start + SECOND);
}

#[test]
fn the_list_says_what_is_stale() {
    let mut world = World::new();
    let (a, b) = (host("a.example"), host("b.example"));
    world.hear_v4(&a, &[1], 5);
    world.hear_v4(&b, &[1], 60);
    world.now += SECOND * 6;
    world.hear(&a, SERVFAIL, SERVFAIL);
    let mut list = world.snapshot.list(world.now);
    list.sort_by(|one, other| one.name.cmp(&other.name));
    let lines: Vec<_> = list.iter().map(|line| (&line.name, &*line.addresses, line.expires, line.stale)).collect();
    let (first, second) = (world.epoch + SECOND * 5, world.epoch + SECOND * 60);
    assert_eq!(lines, [(&a, &[ip4(1)][..], first, true), (&b, &[ip4(1)][..], second, false)]);
    // Past its TTL, but nobody has asked since: it does not serve.
    world.now += SECOND * 60;
    let b = world.snapshot.list(world.now).into_iter().find(|line| line.name == b).unwrap();
    assert!(b.expires < world.now && !b.stale);
}
