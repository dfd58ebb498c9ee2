use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sekisho_name::Name;
use sekisho_policy::{Decision, Protocol, Request};
use tempfile::TempDir;

use super::*;
use crate::outcome::{Outcome, Verdict};

mod lists;

/// A directory with a policy in it, and a store that has opened it.
struct Bench {
    dir: TempDir,
    store: PolicyStore,
}

/// A policy that allows `host` and nothing else. The cut in the middle of it would be a policy that allows it to all.
fn allowing(host: &str) -> String {
    format!("version: 1\nrules:\n  - name: only\n    owner: o\n    hosts: [{host}]\n    clients: [10.0.0.0/8]\n")
}

/// A policy whose names are in a list.
const BY_LIST: &str =
    "version: 1\nrules:\n  - name: only\n    owner: o\n    hosts_files: [list]\n    clients: [10.0.0.0/8]\n";

impl Bench {
    fn new(policy: &str) -> Self {
        Self::with(policy, |_| ())
    }

    fn with(policy: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        let (store, warnings) = PolicyStore::open(&dir.path().join("policy.yaml"), 2).unwrap();
        assert!(warnings.is_empty(), "{warnings}");
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn in_place(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn rename(&self, name: &str, text: &str) {
        let fresh = self.path(".fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    fn cut(&self, name: &str, length: u64) {
        File::options().write(true).open(self.path(name)).unwrap().set_len(length).unwrap();
    }

    fn allows(&self, host: &str) -> bool {
        allows(&self.store.current().policy, host, [10, 0, 0, 1])
    }

    /// Nothing is loaded, and the node says why.
    fn waits(&self, why: &str) {
        assert_eq!(self.store.poll(), None);
        assert_eq!(self.store.fault().map(|fault| fault.summary).as_deref(), Some(why));
        assert!(self.store.differs());
    }

    /// Nothing is loaded, because nothing differs.
    fn agrees(&self) {
        assert_eq!(self.store.poll(), None);
        assert!(self.store.fault().is_none() && !self.store.differs(), "{:?}", self.store.fault());
    }

    fn loads(&self) {
        assert_eq!(self.store.poll(), Some(ReloadResult::Loaded));
        self.agrees();
    }
}

fn allows(policy: &Policy, host: &str, client: [u8; 4]) -> bool {
    let name = Name::parse(host).unwrap();
    let request = Request {
        name: &name,
        client: client.into(),
        port: 443,
        protocol: Protocol::Tls,
        now: 0,
        vpce: None,
        ech: false,
    };
    matches!(policy.decide(&request), Decision::Allow { .. })
}

#[test]
fn a_policy_that_was_renamed_into_place_is_loaded() {
    let bench = Bench::new(&allowing("a.example"));
    bench.agrees();
    for host in ["b.example", "c.example", "a.example"] {
        bench.rename("policy.yaml", &allowing(host));
        bench.loads();
        assert!(bench.allows(host));
    }
    assert_eq!((bench.store.current().generation, bench.store.reloads(ReloadResult::Loaded)), (4, 3));
}

#[test]
fn a_symlink_swap_is_loaded() {
    // As Kubernetes mounts a config map: policy.yaml → ..data/policy.yaml, ..data → ..1
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, host: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("policy.yaml"), BY_LIST).unwrap();
        fs::write(dir.path().join(name).join("list"), host).unwrap();
        symlink(name, dir.path().join("..fresh")).unwrap();
        fs::rename(dir.path().join("..fresh"), dir.path().join("..data")).unwrap();
    };
    version("..1", "a.example");
    symlink("..data/policy.yaml", dir.path().join("policy.yaml")).unwrap();
    symlink("..data/list", dir.path().join("list")).unwrap();
    let (store, _) = PolicyStore::open(&dir.path().join("policy.yaml"), 2).unwrap();
    let bench = Bench { dir, store };
    for (number, host) in [("..2", "b.example"), ("..3", "c.example")] {
        let dir = bench.dir.path();
        let old = fs::read_link(dir.join("..data")).unwrap();
        fs::create_dir(dir.join(number)).unwrap();
        fs::write(dir.join(number).join("policy.yaml"), BY_LIST).unwrap();
        fs::write(dir.join(number).join("list"), host).unwrap();
        bench.agrees();
        symlink(number, dir.join("..fresh")).unwrap();
        fs::rename(dir.join("..fresh"), dir.join("..data")).unwrap();
        fs::remove_dir_all(dir.join(old)).unwrap();
        bench.loads();
        assert!(bench.allows(host));
    }

    // What was swapped in is as little to be trusted when it is written in place.
    bench.in_place("..3/list", "d.example");
    bench.waits(IN_PLACE);
}

#[test]
fn a_file_written_in_place_waits_for_the_operator() {
    let bench = Bench::new(&allowing("a.example"));
    bench.in_place("policy.yaml", &allowing("bb.example"));
    bench.waits(IN_PLACE);
    bench.waits(IN_PLACE);
    assert!(bench.allows("a.example") && !bench.allows("bb.example"));
    bench.in_place("policy.yaml", &allowing("a.example"));
    bench.agrees();

    bench.in_place("policy.yaml", &allowing("bb.example"));
    assert_eq!(bench.store.reload(), ReloadResult::Loaded);
    bench.agrees();
    assert!(bench.allows("bb.example") && !bench.allows("a.example"));

    // Made anew under the old name is in place as well, also when it takes over the old one's inode.
    fs::remove_file(bench.path("policy.yaml")).unwrap();
    bench.in_place("policy.yaml", &allowing("c.example"));
    bench.waits(IN_PLACE);
    bench.rename("policy.yaml", &allowing("d.example"));
    bench.loads();
}

#[test]
fn a_truncated_policy_is_never_enforced() {
    let whole = allowing("a.example");
    let wide = whole.find("    clients").unwrap() as u64;
    let bench = Bench::new(&whole);
    bench.cut("policy.yaml", wide);
    let cut = fs::read_to_string(bench.path("policy.yaml")).unwrap();
    assert!(allows(&Policy::parse("cut", &cut, 0).unwrap().policy, "a.example", [192, 0, 2, 1]), "it is wider");
    for length in (0..wide).rev() {
        bench.waits(IN_PLACE);
        bench.cut("policy.yaml", length);
    }
    // Neither when it had come whole a moment before.
    bench.rename("policy.yaml", &allowing("b.example"));
    bench.cut("policy.yaml", wide);
    bench.waits(IN_PLACE);
    bench.waits(IN_PLACE);
    assert!(bench.allows("a.example") && !allows(&bench.store.current().policy, "a.example", [192, 0, 2, 1]));

    bench.rename("policy.yaml", &allowing("b.example"));
    bench.loads();
}

#[test]
fn a_link_to_a_file_that_is_still_written_is_not_a_whole_change() {
    let bench = Bench::new(&allowing("a.example"));
    bench.in_place("next.yaml", &allowing("b.example"));
    symlink("next.yaml", bench.path("fresh")).unwrap();
    fs::rename(bench.path("fresh"), bench.path("policy.yaml")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    bench.cut("next.yaml", 73);
    bench.waits(IN_PLACE);
    // Nor is a file that takes the place of the link.
    fs::remove_file(bench.path("policy.yaml")).unwrap();
    bench.in_place("policy.yaml", &allowing("c.example"));
    bench.waits(IN_PLACE);
    assert!(bench.allows("a.example"));
}

#[test]
fn a_file_that_went_missing_is_waited_for() {
    let bench = Bench::new(&allowing("a.example"));
    fs::rename(bench.path("policy.yaml"), bench.path("away")).unwrap();
    bench.waits(MISSING);
    fs::rename(bench.path("away"), bench.path("policy.yaml")).unwrap();
    bench.agrees();
    fs::remove_file(bench.path("policy.yaml")).unwrap();
    bench.waits(MISSING);
    bench.rename("policy.yaml", &allowing("b.example"));
    bench.loads();

    fs::remove_file(bench.path("policy.yaml")).unwrap();
    assert_eq!(bench.store.reload(), ReloadResult::Failed);
    assert!(bench.allows("b.example"));
    bench.rename("policy.yaml", &allowing("c.example"));
    bench.loads();
}

#[test]
fn a_faulty_policy_leaves_the_old_one_and_says_what_is_wrong() {
    let faulty = "version: 1\nrules:\n  - name: only\n    owner: o\n    hosts: [\"no host\"]\n    port: 1\n";
    let bench = Bench::new(&allowing("a.example"));
    bench.rename("policy.yaml", faulty);
    assert_eq!(bench.store.poll(), Some(ReloadResult::Failed));
    assert!(bench.allows("a.example"));
    let fault = bench.store.fault().unwrap().summary;
    assert!(fault.contains("policy.yaml:5: ") && fault.ends_with("(and 1 more)"), "{fault}");
    assert_eq!(bench.store.poll(), None, "it is tried once");
    assert_eq!(bench.store.fault().unwrap().summary, fault);

    // Written in place and put back, it is faulty still.
    bench.in_place("policy.yaml", &allowing("bb.example"));
    bench.waits(IN_PLACE);
    bench.in_place("policy.yaml", faulty);
    bench.waits(&fault);

    bench.rename("policy.yaml", &allowing("b.example"));
    bench.loads();
    assert_eq!(bench.store.reloads(ReloadResult::Failed), 1);
}

#[test]
fn a_faulty_policy_at_the_start_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    for make in
        [|_: &Path| (), |path: &Path| fs::create_dir(path).unwrap(), |path: &Path| symlink("nowhere", path).unwrap()]
    {
        let path = dir.path().join(fastrand::u64(..).to_string());
        make(&path);
        let faults = PolicyStore::open(&path, 1).unwrap_err();
        assert_eq!((faults.errors(), faults.iter().next().unwrap().code), (1, "unreadable-file"));
    }
}

#[test]
fn what_only_touches_a_file_changes_nothing() {
    let bench = Bench::new(&allowing("a.example"));
    let path = bench.path("policy.yaml");
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    bench.agrees();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    bench.agrees();
    fs::remove_file(&path).unwrap();
    bench.in_place("policy.yaml", &allowing("a.example"));
    bench.agrees();
    assert_eq!(bench.store.current().generation, 1);
}

#[test]
fn the_same_policy_in_other_words_is_unchanged_and_keeps_its_counters() {
    let bench = Bench::new(&allowing("a.example"));
    let count = |rule: &str, verdict, bytes| {
        let mut outcome = Outcome::new(1, 0, ([10, 0, 0, 1], 1).into());
        (outcome.rule, outcome.verdict) = (Some(rule.into()), verdict);
        (outcome.bytes_up, outcome.bytes_down) = (bytes, 2 * bytes);
        // Each time by the other worker.
        bench.store.glance().count(usize::from(bytes > 5), &outcome);
    };
    let uses = || {
        let active = bench.store.current();
        let of = |used: &RuleUse| (used.decisions(Verdict::Allowed), used.decisions(Verdict::Failed), used.bytes());
        active.uses().map(|(name, used)| (name.to_owned(), of(used))).collect::<Vec<_>>()
    };
    count("only", Verdict::Allowed, 5);
    bench.rename(
        "policy.yaml",
        &format!("# the same\n{}", allowing("A.Example").replace("owner: o", "owner: somebody")),
    );
    assert_eq!(bench.store.poll(), Some(ReloadResult::Unchanged));
    assert_eq!(bench.store.current().policy.rules()[0].owner.as_deref(), Some("somebody"));
    count("only", Verdict::Allowed, 7);
    count("gone", Verdict::Allowed, 1000);

    bench.rename(
        "policy.yaml",
        &format!("{}  - name: more\n    owner: o\n    hosts: [b.example]\n", allowing("a.example")),
    );
    bench.loads();
    count("only", Verdict::Failed, 0);
    count("more", Verdict::Allowed, 1);
    assert_eq!(uses(), [("only".to_owned(), (2, 1, (12, 24))), ("more".to_owned(), (1, 0, (1, 2)))]);
}

#[test]
fn a_replaced_policy_is_freed_by_who_loads_and_never_by_a_worker_that_kept_it() {
    let bench = Bench::new(&allowing("a.example"));
    let kept = bench.store.current();
    let old = Arc::downgrade(&kept);
    bench.rename("policy.yaml", &allowing("b.example"));
    bench.loads();
    // The connection that it decided has ended, on its worker's thread.
    std::thread::spawn(move || drop(kept)).join().unwrap();
    assert!(old.upgrade().is_some(), "the worker had the last reference");
    bench.agrees();
    assert!(old.upgrade().is_none(), "it is kept for ever");

    // One that nobody keeps goes at once.
    let old = Arc::downgrade(&bench.store.current());
    bench.rename("policy.yaml", &allowing("c.example"));
    assert_eq!(bench.store.poll(), Some(ReloadResult::Loaded));
    assert!(old.upgrade().is_none());
}

#[test]
fn no_reader_ever_sees_half_a_policy() {
    let pair = |hosts: [&str; 2]| {
        let rule = |host: &str| {
            format!("  - name: {}\n    owner: o\n    hosts: [{host}]\n    clients: [10.0.0.0/8]\n", &host[..1])
        };
        format!("version: 1\nrules:\n{}{}", rule(hosts[0]), rule(hosts[1]))
    };
    let texts = [pair(["a.example", "b.example"]), pair(["c.example", "d.example"])];
    let bench = Bench::new(&texts[1]);
    let stop = AtomicBool::new(false);
    let seen: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0_u32; 2];
                    while !stop.load(Ordering::Relaxed) {
                        let active = bench.store.current();
                        let [a, b, c, d] = ["a.example", "b.example", "c.example", "d.example"]
                            .map(|host| allows(&active.policy, host, [10, 0, 0, 1]));
                        assert!(a == b && c == d && a != c, "half a policy");
                        assert!(!allows(&active.policy, "a.example", [192, 0, 2, 1]));
                        seen[usize::from(c)] += 1;
                    }
                    seen
                })
            })
            .collect();
        for swap in 0..1000 {
            bench.rename("policy.yaml", &texts[swap % 2]);
            assert_eq!(bench.store.poll(), Some(ReloadResult::Loaded));
            match swap % 50 {
                7 => bench.rename("policy.yaml", "version: 1\nrules: [{}]\n"),
                17 => bench.cut("policy.yaml", 73),
                _ => continue,
            }
            assert_ne!(bench.store.poll(), Some(ReloadResult::Loaded));
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(seen.iter().flatten().all(|&count| count > 0), "{seen:?}");
}
