use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::policy::Policy;
use crate::s3::bucket;
use crate::s3::regions;

#[test]
fn no_file_of_a_set_has_a_fault_and_none_is_left_out() {
    let (sets, faults) = read::all();
    assert!(faults.is_empty(), "{faults}");
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("sets")).unwrap();
    assert_eq!(files.count(), sets.len());
    assert!(sets.is_sorted_by_key(|set| &set.name), "in the order of their names");
}

#[test]
fn every_set_says_where_it_is_from_and_when() {
    for set in all() {
        assert!(set.name.starts_with("aws:"), "{}", set.name);
        assert!(set.date.parse::<jiff::civil::Date>().is_ok(), "{}", set.name);
        assert!(!set.sources.is_empty(), "{}", set.name);
        for source in &set.sources {
            assert!(source.url.starts_with("https://docs.aws.amazon.com/"), "{}", source.url);
        }
        assert!(!set.hosts.is_empty() || !set.buckets.is_empty(), "{}", set.name);
        assert_eq!(set.interface_endpoints, !set.hosts.is_empty(), "{}", set.name);
    }
}

#[test]
fn every_name_is_of_the_region_that_was_asked_for() {
    for set in all() {
        for region in regions::all() {
            let Some(partition) = regions::partition_of(region).filter(|p| set.partitions.contains(&p.id.to_owned()))
            else {
                continue;
            };
            for host in set.hosts_in(region, partition) {
                assert!(host.ends_with(&format!(".{region}.{}", partition.suffix)), "{host}");
            }
            for name in set.buckets_in(region) {
                assert!(name.contains(region) && bucket::check(&name, region).is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn every_set_can_be_included_in_every_region_of_its_partitions() {
    let mut known = BTreeSet::new();
    for set in all() {
        for partition in crate::s3::PARTITIONS {
            for region in partition.regions {
                let text = format!(
                    "version: 1\nrules:\n  - include: {{ set: '{}', region: {region}, upstream: any, owner: a, ticket: b }}\n",
                    set.name
                );
                let loaded = Policy::parse("policy.yaml", &text, 0);
                if set.partitions.iter().any(|id| id == partition.id) {
                    let loaded = loaded.map_err(|faults| faults.to_string()).unwrap();
                    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
                    known.insert(&set.name);
                } else {
                    assert_eq!(loaded.unwrap_err().iter().next().unwrap().code, "no-such-set");
                }
            }
        }
    }
    assert_eq!(known.len(), all().len());
}
