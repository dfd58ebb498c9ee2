//! Where the lines go: files that are moved away, full disks, and what is no file.

use std::io::Write as _;
use std::slice::from_ref;

use super::*;

/// The connections that these files tell of, in order.
fn connections(paths: &[PathBuf]) -> Vec<u64> {
    let lines = paths.iter().filter(|path| path.exists()).flat_map(|path| lines(path));
    let values = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    values.filter_map(|value| u64::from_str_radix(value["conn"].as_str()?, 16).ok()).collect()
}

/// Whether a file that is being written has this connection's whole line already.
fn has(path: &Path, conn: u64) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().any(|line| line.contains(&format!(r#""conn":"{conn:016x}""#)))
}

/// Waits until `done`, within the time that even a busy machine needs for it.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_log_that_is_moved_away_under_load_loses_nothing_and_tears_nothing() {
    const THREADS: u64 = 3;
    const EACH: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    let log = start(&path);
    let mut moved = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..EACH {
                    log.record(close(&outcome(thread * EACH + number)));
                    if number % 100 == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
        for number in 0..10 {
            std::thread::sleep(Duration::from_millis(15));
            eventually("there is a file to move", || path.exists());
            let away = dir.path().join(format!("access.{number}"));
            fs::rename(&path, &away).unwrap();
            moved.push(away);
            if number % 2 == 0 {
                log.reopen();
            }
        }
    });
    assert!(log.finish());
    assert_eq!(log.lost(), 0);
    assert!(moved.iter().filter(|path| fs::metadata(path).unwrap().len() > 0).count() > 5, "records were spread");
    moved.push(path);
    let mut told = connections(&moved);
    for thread in 0..THREADS {
        let own = told.iter().filter(|&&conn| conn / EACH == thread);
        assert!(own.is_sorted(), "a thread's records keep their order");
    }
    told.sort_unstable();
    assert!(told == (0..THREADS * EACH).collect::<Vec<_>>());
}

#[test]
fn a_file_that_was_moved_away_gets_no_more_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("access"), dir.path().join("access.1"));
    let log = start(&path);
    log.record(close(&outcome(1)));
    eventually("the record is written", || has(&path, 1));
    fs::rename(&path, &away).unwrap();
    // logrotate's `compress` may read it from now on.
    let then = fs::read(&away).unwrap();
    log.record(close(&outcome(2)));
    eventually("the record is written", || has(&path, 2));
    assert_eq!(connections(from_ref(&path)), [2]);
    assert!(fs::read(&away).unwrap() == then);

    // Idle, it opens its path anew as well: another program may look for it there.
    fs::remove_file(&path).unwrap();
    eventually("the file is made anew", || path.exists());
    fs::remove_file(&path).unwrap();
    log.reopen();
    eventually("the file is made anew", || path.exists());
    assert!(log.finish());
}

#[test]
fn while_the_directory_is_away_the_old_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (there, away) = (dir.path().join("log"), dir.path().join("log.old"));
    fs::create_dir(&there).unwrap();
    let log = start(&there.join("access"));
    fs::rename(&there, &away).unwrap();
    log.record(close(&outcome(1)));
    eventually("the record is written", || has(&away.join("access"), 1));
    fs::create_dir(&there).unwrap();
    log.record(close(&outcome(2)));
    assert!(log.finish());
    assert_eq!(log.lost(), 0);
    assert_eq!(connections(&[away.join("access"), there.join("access")]), [1, 2]);
}

#[test]
fn on_a_full_disk_records_are_held_then_lost_and_counted_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (path, room) = (dir.path().join("access"), dir.path().join("room"));
    symlink("/dev/full", &path).unwrap();
    let log = start(&path);
    log.record(close(&outcome(0)));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(log.lost(), 0, "it is held");
    // More than is held.
    let mut recorded = 1;
    eventually("some are lost", || {
        (0..1000).for_each(|_| {
            log.record(close(&outcome(recorded)));
            recorded += 1;
        });
        log.lost() > 0
    });
    symlink(&room, dir.path().join("fresh")).unwrap();
    fs::rename(dir.path().join("fresh"), &path).unwrap();
    eventually("what was held is written", || has(&room, 0));
    std::thread::sleep(Duration::from_millis(50));
    log.record(close(&outcome(recorded)));
    assert!(log.finish());

    let told = connections(from_ref(&room));
    // Where they are missing, the log says so.
    let gap = told.iter().zip(0..).take_while(|&(&conn, number)| conn == number).count() + 1;
    assert!(lines(&room)[gap].contains(r#""event":"lost""#), "{}", lines(&room)[gap]);
    let lost: u64 = lines(&room)
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|value| value["count"].as_u64())
        .sum();
    assert_eq!(lost, log.lost());
    assert_eq!(told.len() as u64 + lost, recorded + 1, "each is written or counted");
    assert!(told.is_sorted() && told.first() == Some(&0) && told.last() == Some(&recorded));
}

#[test]
fn an_end_that_cannot_be_written_is_told_to_who_asked_for_it() {
    let log = start(Path::new("/dev/full"));
    (0..3).for_each(|conn| log.record(close(&outcome(conn))));
    assert!(!log.finish());
    assert!(log.lost() >= 3);
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let settings = settings(Some(path), AccessFormat::Json, 1);
        AccessLog::start(&settings, "").unwrap_err().to_string()
    };
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    assert!(refused(&pipe).contains("it is no file; for a pipe, write to stdout"));
    assert!(refused(dir.path()).contains("directory"));
    assert!(refused(&dir.path().join("none/access")).contains("No such file"));
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    refused(&dir.path().join("socket"));
}

#[test]
fn a_new_file_is_for_its_owner_and_group_and_an_old_one_keeps_its_mode() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert!(start(&path).finish());
    assert_eq!(mode(), 0o640 & !umask);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(start(&path).finish());
    assert_eq!(mode(), 0o604);
    assert_eq!(lines(&path).len(), 4, "it is appended to");
}

#[test]
fn a_line_that_a_crash_tore_is_ended_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    fs::File::create(&path).unwrap().write_all(b"{\"event\":\"stop\"}\n{\"time\":\"2026-").unwrap();
    assert!(start(&path).finish());
    let lines = lines(&path);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1], "{\"time\":\"2026-");
    assert!(lines[2].contains(r#""event":"start""#) && lines[3].contains(r#""event":"stop""#));
}

#[test]
fn without_a_path_lines_go_to_stdout() {
    const CHILD: &str = "SEKISHO_TEST_STDOUT";
    if std::env::var_os(CHILD).is_some() {
        let log = AccessLog::start(&settings(None, AccessFormat::Json, 10), "the digest").unwrap();
        log.record(close(&allowed()));
        assert!(log.finish());
        return;
    }
    // This test once more, as a program whose stdout is its own.
    let name = "record::tests::files::without_a_path_lines_go_to_stdout";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "--nocapture", "--test-threads=2", name]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<_> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["event"].as_str().map(str::to_owned))
        .collect();
    assert!(output.status.success());
    assert_eq!(events, ["start", "close", "stop"], "{text}");
}
