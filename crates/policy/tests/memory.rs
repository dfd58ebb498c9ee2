//! What a long list takes in memory, counted by the allocator.

use std::fmt::Write as _;
use std::path::Path;

use sekisho_policy::{FileError, Files, Policy};

struct Lists(String);

impl Files for Lists {
    fn read(&self, path: &Path, _limit: usize) -> Result<Vec<u8>, FileError> {
        let policy = "version: 1\nrules:\n  - { name: all, owner: o, hosts_files: [list] }\n";
        Ok(if path == Path::new("policy.yaml") { policy.into() } else { self.0.clone().into() })
    }
}

#[test]
fn a_name_takes_120_bytes_and_a_list_as_many_allocations_as_its_vectors_grow() {
    // One more than a table of this size holds, so that it has just doubled: the worst case, a name's own text included.
    let names = (1 << 17) * 7 / 8 + 1;
    let list = (0..names).fold(String::new(), |mut list, i| {
        writeln!(list, "host-{i}.department-{}.example.org", i % 1000).unwrap();
        list
    });
    let mean = list.len() / names;
    let files = Lists(list);
    let mut loaded = None;
    let used = allocation_counter::measure(|| {
        loaded = Policy::load_from(Path::new("policy.yaml"), &files, 0).ok();
    });
    assert!(loaded.is_some());
    let kept = usize::try_from(used.bytes_current).unwrap() / names;
    println!("{names} names of {mean} bytes each: {kept} bytes a name, {} at most while they are read", used.bytes_max);
    assert!((mean..=120).contains(&kept), "{kept} bytes a name");
    assert!(used.count_total < 1000, "{} allocations", used.count_total);
}
