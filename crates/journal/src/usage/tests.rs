use super::*;

#[test]
fn what_comes_after_a_cap_is_counted_and_told() {
    let text = "version: 1\nrules:\n  - { name: a, hosts: [.example] }\n";
    let policy = Policy::parse("p.yaml", text, 0).unwrap().policy;
    for (names, pairs, beyond) in [(9, 9, 0), (1, 9, 1), (9, 1, 1), (0, 9, 3), (9, 0, 3)] {
        let mut usage = Usage::capped(&policy, Options::default(), Caps { names, pairs });
        for host in ["a.example", "b.example", "a.example"] {
            let line = format!(
                r#"{{"time":"2026-11-24T09:15:02Z","event":"close","client":"10.0.0.1:1","host":"{host}","verdict":"refused","reason":"no_rule"}}"#
            );
            usage.take(&Record::parse(line.as_bytes()).unwrap()).unwrap();
        }
        let report = usage.finish(0);
        assert_eq!(report.beyond, beyond, "{names} names, {pairs} pairs");
        assert_eq!(report.to_string().contains("INCOMPLETE"), beyond > 0);
    }
}
