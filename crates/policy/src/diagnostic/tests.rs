use super::*;

fn located(line: &str, column: u32, length: u32) -> Diagnostics {
    let file: Arc<str> = Arc::from("policy.yaml");
    let mut all = Diagnostics::new();
    all.push(Diagnostic::error("a-code", "message").at(Location::new(&file, 7, column, length, line)).help("do so"));
    all
}

#[test]
fn the_line_is_shown_and_underlined() {
    let expected = "\
error[a-code]: message
 --> policy.yaml:7:5
  |
7 |     client: [10.0.0.0/8]
  |     ^^^^^^
  = help: do so

1 error
";
    assert_eq!(located("    client: [10.0.0.0/8]", 5, 6).human(), expected);
}

#[test]
fn wide_characters_keep_the_underline_in_place() {
    let text = located("名: x", 4, 1).human();
    assert!(text.contains("  |     ^\n"), "{text}");
}

#[test]
fn content_cannot_forge_output() {
    let file: Arc<str> = Arc::from("evil\n\u{1b}[2Jerror.yaml");
    let mut all = Diagnostics::new();
    all.push(
        Diagnostic::error("a-code", "has \u{1b}[31m\nerror[b]: forged")
            .at(Location::new(&file, 1, 1, 3, "\u{1b}]0;x\u{7} \u{202e}abc\r"))
            .help("not\nthis")
            .note("nor\u{9b}this"),
    );
    let text = all.human();
    assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error[")).count(), 1);
}

#[test]
fn a_long_line_is_cut_around_the_fault() {
    let line = format!("{}BAD{}", "a".repeat(100_000), "b".repeat(100_000));
    let text = located(&line, 100_001, 3).human();
    assert!(text.len() < 600, "{}", text.len());
    assert!(text.contains("BAD"));
    let under = text.lines().nth(4).unwrap();
    let shown = text.lines().nth(3).unwrap();
    let at = shown.chars().position(|c| c == 'B').unwrap();
    assert_eq!(under.chars().position(|c| c == '^'), Some(at));
}

#[test]
fn a_flood_is_counted_but_not_kept() {
    let mut all = Diagnostics::new();
    for _ in 0..3 * Diagnostics::KEPT {
        all.push(Diagnostic::warning("w", "w"));
    }
    all.push(Diagnostic::error("e", "e"));
    assert_eq!((all.errors(), all.warnings(), all.iter().count()), (1, 1500, 501));
    assert!(all.human().ends_with("1 error, 1500 warnings (1000 not shown)\n"));
    let mut sum = Diagnostics::new();
    sum.extend(all.clone());
    sum.extend(all);
    assert_eq!((sum.errors(), sum.warnings(), sum.iter().count()), (2, 3000, 502));
}

#[test]
fn json_is_flat() {
    let json = located("    x: 1", 5, 1).json();
    let first = &json["diagnostics"][0];
    assert_eq!(json["errors"], 1);
    assert_eq!(first["severity"], "error");
    assert_eq!(first["file"], "policy.yaml");
    assert_eq!(first["line"], 7);
    assert_eq!(first["source"], "    x: 1");
}

#[test]
fn sorted_by_place() {
    let file: Arc<str> = Arc::from("f");
    let mut all = Diagnostics::new();
    for (line, column) in [(2, 1), (1, 9), (1, 2)] {
        all.push(Diagnostic::error("c", "m").at(Location::new(&file, line, column, 1, "")));
    }
    let order: Vec<_> = all.sorted().iter().filter_map(|d| d.location.as_ref().map(|l| (l.line, l.column))).collect();
    assert_eq!(order, [(1, 2), (1, 9), (2, 1)]);
}
