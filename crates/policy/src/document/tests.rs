use super::*;

fn read(text: &str) -> Result<Node, Vec<(&'static str, u32)>> {
    let limits = Limits::default();
    let mut out = Diagnostics::new();
    let node = Source::new("f.yaml", text.as_bytes().to_vec(), &limits, &mut out)
        .and_then(|source| parse(&source, &limits, &mut out));
    match node {
        Some(node) if out.is_empty() => Ok(node),
        _ => Err(out.iter().map(|d| (d.code, d.location.as_ref().map_or(0, |l| l.line))).collect()),
    }
}

fn codes(text: &str) -> Vec<(&'static str, u32)> {
    read(text).expect_err("must be refused")
}

#[test]
fn everything_remembers_its_place() {
    let node = read("a: 1\nlist:\n  - \"x y\"\n  - {b: ~}\n").unwrap();
    let Value::Mapping(entries) = node.value else { panic!() };
    assert_eq!(entries[0].value.span, Span { line: 1, column: 4, length: 1 });
    let Value::Sequence(items) = &entries[1].value.value else { panic!() };
    assert_eq!(items[0].span, Span { line: 3, column: 5, length: 5 });
    assert_eq!(items[0].value, Value::Scalar { text: "x y".into(), plain: false });
    let Value::Mapping(inner) = &items[1].value else { panic!() };
    assert_eq!(inner[0].key_span, Span { line: 4, column: 6, length: 1 });
    assert_eq!(inner[0].value.value, Value::Null);
}

#[test]
fn columns_count_characters() {
    let node = read("あ: い # う\n").unwrap();
    let Value::Mapping(entries) = node.value else { panic!() };
    assert_eq!(entries[0].value.span, Span { line: 1, column: 4, length: 1 });
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    let unix = read("a: 1\nb:\n  - x\n").unwrap();
    assert_eq!(read("a: 1\r\nb:\r\n  - x\r\n").unwrap(), unix);
    assert_eq!(read("\u{feff}a: 1\nb:\n  - x\n").unwrap(), unix);
    assert_eq!(read("# nothing\n").unwrap().value, Value::Null);
    assert_eq!(read("").unwrap().value, Value::Null);
}

#[test]
fn yaml_that_means_several_things_is_refused() {
    for (text, expected) in [
        ("a: &x 1\n", ("yaml-anchor", 1)),
        ("a: &x [1]\nb: *x\n", ("yaml-anchor", 1)),
        ("a: !!str 1\n", ("yaml-tag", 1)),
        ("a: 1\n---\nb: 2\n", ("several-documents", 2)),
        ("? [a]\n: b\n", ("key-not-text", 1)),
        ("{a: 1}: b\n", ("key-not-text", 1)),
        ("~: b\n", ("key-not-text", 1)),
        ("a: 1\nb: 2\na: 3\n", ("duplicate-key", 3)),
        ("a: [1\n", ("yaml-syntax", 2)),
        ("a:\n\t- b\n", ("yaml-syntax", 2)),
        ("a: \u{202e}b\n", ("hidden-character", 1)),
        ("a: 1\n\u{1b}[2J", ("hidden-character", 2)),
        ("a: 1\rb: 2\n", ("hidden-character", 1)),
        ("a: \0\n", ("hidden-character", 1)),
    ] {
        assert_eq!(codes(text), [expected], "{text:?}");
    }
}

#[test]
fn every_duplicate_is_reported_and_what_follows_is_still_read() {
    assert_eq!(codes("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n"), [("duplicate-key", 2), ("duplicate-key", 5)]);
}

#[test]
fn bombs_are_refused_cheaply() {
    let mut laughs = String::from("a0: &a0 [x, x]\n");
    for i in 1..60 {
        use std::fmt::Write as _;
        writeln!(laughs, "a{i}: &a{i} [*a{}, *a{}]", i - 1, i - 1).unwrap();
    }
    assert_eq!(codes(&laughs), [("yaml-anchor", 1)]);
    assert_eq!(codes(&"[".repeat(1 << 20)), [("yaml-syntax", 1)]); // the scanner's own limit comes first
    assert_eq!(codes(&"- ".repeat(1 << 20)), [("too-deep", 1)]);
    assert_eq!(codes(&"{a: ".repeat(1 << 20)), [("yaml-syntax", 1)]);
    assert_eq!(codes(&format!("[{}]", "a,".repeat(1_100_000))), [("too-many-values", 1)]);
    assert_eq!(codes(&"a".repeat((16 << 20) + 1)), [("file-too-large", 0)]);
    // Plain, but large: neither may take long.
    assert!(read(&format!("a: {}\n", "x".repeat(1 << 20))).is_ok());
    assert!(read(&format!("a: \"{}\"\n", "\\n".repeat(1 << 19))).is_ok());
}

#[test]
fn bytes_that_are_not_text_are_named_by_offset() {
    let mut out = Diagnostics::new();
    assert!(Source::new("f", b"a: b\nc: \xff\n".to_vec(), &Limits::default(), &mut out).is_none());
    let fault = out.iter().next().unwrap();
    assert_eq!(fault.code, "not-utf8");
    assert_eq!(fault.message, "byte 8 (0xff, on line 2) is not UTF-8");
}

#[test]
fn getters_push_a_fault_and_go_on() {
    let limits = Limits::default();
    let mut out = Diagnostics::new();
    let text = "nmae: x\nport: many\nflag: yes\nkind: alow\nlist: one\n";
    let source = Source::new("f", text.as_bytes().to_vec(), &limits, &mut out).unwrap();
    let node = parse(&source, &limits, &mut out).unwrap();
    let mut reader = Reader { source: &source, out: &mut out };
    let fields = reader.fields(&node, "a thing", &["name", "port", "flag", "kind", "list"]).unwrap();
    assert!(reader.required(&fields, "name", "a thing").is_none());
    assert!(reader.integer(fields.get("port").unwrap(), "a port", 1..=65_535).is_none());
    assert!(reader.boolean(fields.get("flag").unwrap(), "a flag").is_none());
    assert!(reader.one_of(fields.get("kind").unwrap(), "an action", &[("allow", 1), ("deny", 2)]).is_none());
    assert!(reader.list(fields.get("list").unwrap(), "a list of names").is_none());
    let found: Vec<_> = out.iter().map(|d| (d.code, d.help.clone().unwrap_or_default())).collect();
    assert_eq!(found[0], ("unknown-key", "did you mean `name`?".to_owned()));
    assert_eq!(found[1].0, "missing-key");
    assert_eq!(found[2].0, "wrong-type");
    assert_eq!(found[3].0, "wrong-type");
    assert_eq!(found[4], ("unknown-word", "did you mean `allow`? (write `allow` or `deny`)".to_owned()));
    assert_eq!(found[5], ("wrong-type", "put it in brackets: `[one]`".to_owned()));
}
