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
fn a_place_beyond_any_authors_reach_is_only_named() {
    let line = "a".repeat(1_000_000);
    let all = located(&line, 900_000, 3);
    assert_eq!(all.human(), "error[a-code]: message\n --> policy.yaml:7:900000\n  = help: do so\n\n1 error\n");
    assert!(all.json()["diagnostics"][0].get("source").is_none());
}

#[test]
fn a_place_is_worked_out_only_for_what_is_kept() {
    let mut all = Diagnostics::new();
    let mut places = 0;
    for _ in 0..2 * Diagnostics::KEPT {
        all.push_at(Diagnostic::error("e", "e"), || {
            places += 1;
            Location::file(&Arc::from("f"))
        });
    }
    assert_eq!((places, all.errors()), (Diagnostics::KEPT, 2 * Diagnostics::KEPT));
    assert!(!all.keeps(Severity::Error) && all.keeps(Severity::Warning));
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
fn what_quotes_a_file_is_cut_short() {
    let fault = Diagnostic::error("c", "あ".repeat(1_000_000)).help("b".repeat(1_000_000)).note("c".repeat(1_000_000));
    assert_eq!(fault.message.chars().count(), 601);
    assert!(fault.message.ends_with("あ…"));
    assert_eq!((fault.help.map(|text| text.len()), fault.notes[0].len()), (Some(603), 603));
    assert_eq!(Diagnostic::error("c", "あ".repeat(600)).message, "あ".repeat(600));
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

#[test]
fn github_marks_the_line() {
    let text = located("    x: 1", 5, 1).github();
    assert_eq!(text, "::error file=policy.yaml,line=7,col=5,title=a-code::message%0Ahelp: do so\n");
    let mut all = Diagnostics::new();
    all.push(Diagnostic::warning("w", "whole file").at(Location::file(&Arc::from("a,b:c%.yaml"))).note("n"));
    all.push(Diagnostic::error("e", "nowhere"));
    assert_eq!(
        all.github(),
        "::warning file=a%2Cb%3Ac%25.yaml,title=w::whole file%0Anote: n\n::error title=e::nowhere\n"
    );
    assert_eq!(Diagnostics::new().github(), "");
}

#[test]
fn github_takes_no_commands_from_a_file() {
    let file: Arc<str> = Arc::from("x,line=1::\n::add-mask::y");
    let mut all = Diagnostics::new();
    all.push(
        Diagnostic::error("c", "100%\r\n::error::forged\u{1b}[2J")
            .at(Location::new(&file, 1, 1, 1, "::stop-commands::x"))
            .help("%0A::warning::forged"),
    );
    let text = all.github();
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
    assert!(text.contains("help: %250A::warning::forged"), "{text}");
    assert!(text.starts_with("::error file=x%2Cline=1%3A%3A\\u{a}%3A%3Aadd-mask%3A%3Ay,line=1,"), "{text}");
}

#[test]
fn github_says_how_many_it_does_not_show() {
    let mut all = Diagnostics::new();
    for _ in 0..=Diagnostics::KEPT {
        all.push(Diagnostic::warning("w", "w"));
    }
    assert!(all.github().ends_with("::warning title=w::w\n::notice title=sekisho::1 more not shown\n"));
}

#[test]
fn sarif_names_each_code_once_and_points_at_the_characters() {
    let file: Arc<str> = Arc::from("dir/名 1.yaml");
    let mut all = located("    x: 1", 5, 3);
    all.push(Diagnostic::warning("another", "m").at(Location::new(&file, 2, 1, 2, "ab")).note("n"));
    all.push(Diagnostic::error("a-code", "again").at(Location::file(&Arc::from("/etc/a b.yaml"))));
    all.push(Diagnostic::error("nowhere", "m"));
    let log = all.sarif();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a-code", "another", "nowhere"]);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for result in results {
        assert_eq!(ids[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()], result["ruleId"]);
    }
    assert_eq!(results[0]["message"]["text"], "message\nhelp: do so");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "policy.yaml");
    assert_eq!(place["region"], serde_json::json!({ "startLine": 7, "startColumn": 5, "endColumn": 8 }));
    assert_eq!((&results[1]["level"], &results[1]["message"]["text"]), (&"warning".into(), &"m\nnote: n".into()));
    let uri = |at: usize| results[at]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
    assert_eq!(uri(1), "dir/%E5%90%8D%201.yaml");
    assert_eq!(uri(2), "file:///etc/a%20b.yaml");
    assert!(results[2]["locations"][0]["physicalLocation"].get("region").is_none());
    assert!(results[3].get("locations").is_none());
    assert_eq!(Diagnostics::new().sarif()["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let file: Arc<str> = Arc::from("policy.yaml");
    let mut all = Diagnostics::new();
    let at = Location::new(&file, 7, 5, 3, "    \u{1b}[31mabc");
    all.push(Diagnostic::error("bad-host", "\u{1b}[2J is none").at(at).help("remove it").note("it clears the screen"));
    all.push(Diagnostic::warning("empty-list", "nothing").at(Location::file(&file)));
    let coloured = all.coloured();
    assert!(coloured.contains("\u{1b}[1;31merror[bad-host]\u{1b}[0m"), "{coloured}");
    let mut plain = coloured.clone();
    for code in ["1;31", "1;33", "1", "34", "36", "0"] {
        plain = plain.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(plain, all.human(), "and nothing of the file reaches the terminal raw");
}
