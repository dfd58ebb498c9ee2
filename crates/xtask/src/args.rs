//! The command line. By hand, because this is the first crate that a newcomer waits for.

/// What `--help` says.
pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  setup                        install what is missing: Debian packages, and under target/ a Python
                               environment, a few packages of npm's and cargo-deny
  demo [--shell]               see a real AWS CLI pass the gate to one bucket, and be refused another;
                               with --shell, a shell on the client's machine at the end
  test [--long] [--only NAME]  run every suite, or those named: fmt, clippy, deny, docs, unit, e2e,
                               bench; with --long, the long sweeps too
  bench [--quick] [OPTION …]   measure sekisho beside other gates; `bench --help` says what else there is
  regions                      take AWS's regions and the forms of S3's names over from botocore
  suffixes                     take the Public Suffix List over from publicsuffixlist

demo, test and bench begin with setup. They make network namespaces, so they need root; but for what setup
installs, nothing outside these namespaces is touched.";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Say how this is used.
    Help,
    /// Install everything.
    Setup,
    /// Show the gate at work.
    Demo {
        /// End in a shell on the client's side.
        shell: bool,
    },
    /// Run suites.
    Test(TestOptions),
    /// Measure. The arguments are the bench's own.
    Bench(Vec<String>),
    /// Write what botocore knows of regions into the source.
    Regions,
    /// Write the Public Suffix List into the source.
    Suffixes,
}

/// Which tests to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// The long sweeps too.
    pub(crate) long: bool,
    /// The names of suites; all of them when empty.
    pub(crate) only: Vec<String>,
}

/// Reads the arguments after the program's name. An error is a sentence for the user.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Task, String> {
    let mut args = args.into_iter();
    let Some(command) = args.next() else { return Ok(Task::Help) };
    let mut task = match command.as_str() {
        "help" | "--help" | "-h" => return Ok(Task::Help),
        "setup" => Task::Setup,
        "demo" => Task::Demo { shell: false },
        "test" => Task::Test(TestOptions::default()),
        // It reads its command line itself.
        "bench" => Task::Bench(args.by_ref().collect()),
        "regions" => Task::Regions,
        "suffixes" => Task::Suffixes,
        other => return Err(format!("there is no command `{other}`")),
    };
    while let Some(arg) = args.next() {
        match (&mut task, arg.as_str()) {
            (_, "--help" | "-h") => return Ok(Task::Help),
            (Task::Demo { shell }, "--shell") => *shell = true,
            (Task::Test(options), "--long") => options.long = true,
            (Task::Test(options), "--only") => {
                let name = args.next().ok_or("--only wants the name of a suite")?;
                if !crate::test::is_suite(&name) {
                    return Err(format!("there is no suite `{name}`"));
                }
                options.only.push(name);
            }
            (_, other) => return Err(format!("`{command}` does not know `{other}`")),
        }
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::{Task, TestOptions, parse};

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_and_their_options_are_read() {
        assert_eq!(parsed(""), Ok(Task::Help));
        assert_eq!(parsed("test -h"), Ok(Task::Help));
        assert_eq!(parsed("setup"), Ok(Task::Setup));
        assert_eq!(parsed("regions"), Ok(Task::Regions));
        assert_eq!(parsed("suffixes"), Ok(Task::Suffixes));
        assert_eq!(parsed("bench --quick -h"), Ok(Task::Bench(vec!["--quick".to_owned(), "-h".to_owned()])));
        assert_eq!(parsed("demo --shell"), Ok(Task::Demo { shell: true }));
        let only = vec!["fmt".to_owned(), "e2e".to_owned()];
        assert_eq!(parsed("test --only fmt --long --only e2e"), Ok(Task::Test(TestOptions { long: true, only })));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_name() {
        for (line, named) in [
            ("tset", "tset"),
            ("setup --long", "--long"),
            ("demo extra", "extra"),
            ("test --only nothing", "nothing"),
            ("test --only", "--only"),
        ] {
            let fault = parsed(line).unwrap_err();
            assert!(fault.contains(named), "{line}: {fault}");
        }
    }
}
