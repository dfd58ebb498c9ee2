//! docs/performance.md and docs/sizing.md: their figures are put between their marks from a run's results, so that nobody
//! types one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::results::Results;
use crate::{plots, report, sizing, targets, ways};

const PERFORMANCE: &str = "docs/performance.md";

/// Fills the pages from the results in `directory`.
pub(crate) fn publish(directory: &Path) -> Result<()> {
    let results = Results::read(directory)?;
    let directory = directory.canonicalize()?;
    let from_docs =
        directory.strip_prefix(lab::workspace().canonicalize()?).context("the results are not in the repository")?;
    // A run of some works fills the places that these have, and leaves the others as they were.
    if ways::has(&results, true) {
        let pictures = shown(&plots::draw(&results, plots::BARS_OF_WAYS, &directory)?, from_docs);
        let part = format!("{}\n{pictures}", deeper(&ways::section(&results)));
        fill(&lab::workspace().join(PERFORMANCE), &[("ways", part)])?;
        println!("{PERFORMANCE} shows the other ways in from {}", from_docs.display());
    }
    if !ways::has(&results, false) {
        return Ok(());
    }
    let performance = [
        ("run", report::run_line(&results)),
        ("targets", targets::table(&targets::all(&results))),
        ("plots", shown(&plots::draw(&results, plots::BARS, &directory)?, from_docs)),
        ("works", deeper(&(report::works(&results, false) + &report::micro(&results)))),
        ("growth", growth(&results, &directory, from_docs)?),
    ];
    let sizing = [
        ("costs", sizing::costs(&results)),
        ("hosts", sizing::hosts(&results)),
        ("gigabits", sizing::gigabits(&results)),
    ];
    for (page, parts) in [(PERFORMANCE, &performance[..]), ("docs/sizing.md", &sizing)] {
        fill(&lab::workspace().join(page), parts)?;
        println!("{page} shows {}", from_docs.display());
    }
    Ok(())
}

fn fill(page: &Path, parts: &[(&str, String)]) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let filled = parts.iter().try_fold(text, |text, (name, part)| between(&text, name, part))?;
    fs::write(page, filled).with_context(|| format!("cannot write {}", page.display()))
}

fn growth(results: &Results, directory: &Path, from_docs: &Path) -> Result<String> {
    let pictures = shown(&plots::draw_growth(results, directory)?, from_docs);
    Ok(format!("{pictures}\n{}", deeper(report::growth(results).trim())))
}

/// Titles one level down: they stand in a section.
fn deeper(text: &str) -> String {
    text.lines().map(|line| if line.starts_with('#') { format!("#{line}\n") } else { format!("{line}\n") }).collect()
}

fn shown(pictures: &[(String, &str)], from_docs: &Path) -> String {
    let mut text = String::new();
    for (file, title) in pictures {
        let _ = writeln!(text, "![{title}](../{}/{file})\n", from_docs.display());
    }
    text
}

/// The text with what stands between `<!-- bench: name -->` and `<!-- bench: end -->` replaced.
fn between(text: &str, name: &str, part: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench: {name} -->\n"), "<!-- bench: end -->");
    let Some((before, rest)) = text.split_once(&begin) else { bail!("the page has no {}", begin.trim_end()) };
    let Some((_, after)) = rest.split_once(end) else { bail!("{} has no end", begin.trim_end()) };
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", part.trim()))
}

#[cfg(test)]
mod tests {
    use super::{PERFORMANCE, between, fill};

    #[test]
    fn the_pages_have_the_marks() {
        let directory = std::env::temp_dir().join(format!("sekisho-publish-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        for (page, names) in [
            (PERFORMANCE, &["run", "targets", "plots", "works", "ways", "growth"][..]),
            ("docs/sizing.md", &["costs", "hosts", "gigabits"]),
        ] {
            let copy = directory.join("page.md");
            std::fs::copy(lab::workspace().join(page), &copy).expect("the page");
            let parts: Vec<_> = names.iter().map(|name| (*name, format!("all of {name}"))).collect();
            fill(&copy, &parts).expect("its marks");
            let filled = std::fs::read_to_string(&copy).expect("the copy");
            assert!(names.iter().all(|name| filled.contains(&format!("\nall of {name}\n"))), "{page}");
            assert_eq!(filled.matches("<!-- bench: end -->").count(), names.len(), "{page}");
        }
        std::fs::remove_dir_all(directory).expect("its end");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- bench: run -->\nold\n<!-- bench: end -->\nb\n";
        let filled = between(page, "run", "new\n").expect("the marks are there");
        assert_eq!(filled, "a\n<!-- bench: run -->\n\nnew\n\n<!-- bench: end -->\nb\n");
        assert_eq!(between(&filled, "run", "new").expect("they still are"), filled);
        assert!(between(page, "other", "new").is_err());
    }
}
