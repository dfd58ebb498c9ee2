//! Host lists: watched like the policy that refers to them.

use std::io::Write as _;

use super::*;

#[test]
fn lists_are_watched_like_the_policy() {
    let bench = Bench::with(BY_LIST, |dir| fs::write(dir.join("list"), "a.example\n").unwrap());
    bench.agrees();
    bench.rename("list", "b.example\n");
    bench.loads();
    assert!(bench.allows("b.example") && !bench.allows("a.example"));
    bench.in_place("list", "b.example\nc.example\n");
    bench.waits(IN_PLACE);
    assert_eq!(bench.store.reload(), ReloadResult::Loaded);
    fs::remove_file(bench.path("list")).unwrap();
    bench.waits(MISSING);
    // A whole policy does not help while a list of it is in doubt, however often it comes.
    for comment in ["# 1\n", "# 2\n"] {
        bench.rename("policy.yaml", &format!("{BY_LIST}{comment}"));
        bench.waits(MISSING);
        bench.waits(MISSING);
    }
    bench.in_place("list", "c.example\n");
    bench.waits(IN_PLACE);
    bench.rename("list", "c.example\n");
    bench.loads();
}

#[test]
fn a_policy_that_needs_a_list_no_more_does_not_wait_for_it() {
    let bench = Bench::with(BY_LIST, |dir| fs::write(dir.join("list"), "a.example\n").unwrap());
    fs::remove_file(bench.path("list")).unwrap();
    bench.rename("policy.yaml", &allowing("b.example"));
    bench.loads();
    assert!(bench.allows("b.example"));
}

#[test]
fn a_directory_that_was_replaced_is_watched_from_then_on() {
    let bench =
        Bench::with("version: 1\nrules:\n  - name: only\n    owner: o\n    hosts_files: [lists/one]\n", |dir| {
            fs::create_dir(dir.join("lists")).unwrap();
            fs::write(dir.join("lists/one"), "a.example\n").unwrap();
        });
    let replace = |text: &str| {
        fs::rename(bench.path("lists"), bench.path("old")).unwrap();
        bench.waits(MISSING);
        fs::create_dir(bench.path("lists")).unwrap();
        bench.in_place("lists/one", text);
        bench.waits(IN_PLACE);
    };
    replace("b.example\n");
    bench.rename("lists/one", "c.example\n");
    bench.loads();

    // What happens in the directory that was moved away is no news of the one that has its name now.
    fs::remove_dir_all(bench.path("old")).unwrap();
    replace("d.example\n");
    bench.rename("old/one", "e.example\n");
    bench.waits(IN_PLACE);
    bench.rename("lists/one", "f.example\n");
    bench.loads();
    assert!(bench.allows("f.example"));
}

#[test]
fn a_list_may_be_long() {
    let comment = format!("#{}\n", "-".repeat(1022)).repeat(17 << 10);
    let bench = Bench::with(BY_LIST, |dir| fs::write(dir.join("list"), comment.clone() + "a.example\n").unwrap());
    assert!(bench.allows("a.example"));
    bench.rename("list", &(comment + "b.example\n"));
    bench.loads();
    assert!(bench.allows("b.example"));
}

#[test]
fn files_that_do_not_hold_still_are_not_read() {
    let bench = Bench::with(BY_LIST, |dir| fs::write(dir.join("list"), "a.example\n").unwrap());
    let (bench, stop) = (&bench, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut list = File::options().append(true).open(bench.path("list")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                list.write_all(b"b.example\n").unwrap();
                // Reading must take longer than the pause between two writes: so a long list, and a short one.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let comment = format!("#{}\n", "-".repeat(1022)).repeat(1 << 10);
        File::options().append(true).open(bench.path("list")).unwrap().write_all(comment.as_bytes()).unwrap();
        // A busy machine may let the writer sleep through a reading, which is then a good one.
        let failed = (0..200).any(|_| {
            let before = bench.store.current();
            let failed = bench.store.reload() == ReloadResult::Failed;
            assert!(!failed || Arc::ptr_eq(&before, &bench.store.current()), "something was loaded");
            failed
        });
        stop.store(true, Ordering::Relaxed);
        assert!(failed, "no reading was disturbed");
    });
    assert!(bench.store.fault().unwrap().summary.contains(UNSTEADY));
    bench.waits(IN_PLACE);
    assert_ne!(bench.store.reload(), ReloadResult::Failed);
    assert!(bench.allows("b.example"));
}
