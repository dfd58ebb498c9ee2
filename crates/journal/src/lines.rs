//! Lines of any bytes in a fixed amount of memory.

use std::io::{self, Read};

/// The longest line that is read. The gate's own have a tenth of that at the most.
pub const MAX_LINE: usize = 64 << 10;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The bytes of a line of at most [`MAX_LINE`].
    Whole(&'a [u8]),
    /// The same, but the file ends within it.
    Unfinished(&'a [u8]),
    /// More bytes than that, all passed over.
    TooLong,
}

/// Takes lines off a reader.
pub(crate) struct Lines<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What of the buffer is filled and not yet taken.
    start: usize,
    end: usize,
    /// How much of that was searched for a line's end.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
    finished: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(source: R) -> Self {
        let buffer = vec![0; 4 * MAX_LINE].into_boxed_slice();
        Self { source, buffer, start: 0, end: 0, searched: 0, skipping: false, finished: false }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let filled = self.buffer.get(self.start + self.searched..self.end).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', filled) {
                let line = self.start..self.start + self.searched + at;
                (self.start, self.searched) = (line.end + 1, 0);
                let skipped = std::mem::take(&mut self.skipping);
                let bytes = self.buffer.get(line).unwrap_or_default();
                let long = skipped || bytes.len() > MAX_LINE;
                return Ok(Some(if long { Line::TooLong } else { Line::Whole(bytes) }));
            }
            self.searched = self.end - self.start;
            if self.searched > MAX_LINE {
                (self.skipping, self.start, self.end, self.searched) = (true, 0, 0, 0);
            }
            if self.finished {
                let line = self.start..self.end;
                (self.start, self.end, self.searched) = (0, 0, 0);
                if std::mem::take(&mut self.skipping) {
                    return Ok(Some(Line::TooLong));
                }
                let bytes = self.buffer.get(line).unwrap_or_default();
                return Ok(if bytes.is_empty() { None } else { Some(Line::Unfinished(bytes)) });
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.source.read(room) {
                Ok(count) => {
                    self.end += count;
                    self.finished = count == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most so many bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(bytes: &[u8], step: usize) -> Vec<String> {
        let mut lines = Lines::new(Drip(bytes, step));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::Unfinished(bytes) => format!("{}…", String::from_utf8_lossy(bytes)),
                Line::TooLong => "too long".to_owned(),
            });
        }
        all
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(lines(b"", step), [""; 0]);
            assert_eq!(lines(b"a\n\nbcd\r\ne", step), ["a", "", "bcd\r", "e…"]);
        }
    }

    #[test]
    fn a_long_line_costs_itself_alone() {
        let longest = "x".repeat(MAX_LINE);
        for (line, kept) in [(longest.clone(), true), (format!("{longest}y"), false), (longest.repeat(9), false)] {
            for step in [1 << 10, 1 << 20] {
                let expected = if kept { line.as_str() } else { "too long" };
                assert_eq!(lines(format!("a\n{line}\nb\n").as_bytes(), step), ["a", expected, "b"]);
                let torn = if kept { format!("{line}…") } else { "too long".to_owned() };
                assert_eq!(lines(format!("a\n{line}").as_bytes(), step), ["a", &torn]);
            }
        }
    }
}
