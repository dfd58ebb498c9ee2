//! A log's bytes: a file or standard input, plain, gzip or zstd. What it is says its content, never its name: logrotate,
//! S3 and people name such files as they like.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// One log to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// A file.
    File(PathBuf),
    /// Standard input, written `-`.
    Stdin,
}

impl Log {
    /// What a command line says: a path, or `-`.
    pub fn of(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }

    /// How it is called in messages.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::File(path) => path.display().to_string().into(),
            Self::Stdin => "-".into(),
        }
    }

    /// Its bytes on disk, as far as they are known before reading.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::File(path) => {
                std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|about| about.len())
            }
            Self::Stdin => None,
        }
    }

    /// Opens it; `taken` counts what is read from disk, before it is unpacked.
    pub(crate) fn open(&self, taken: &Arc<AtomicU64>) -> io::Result<Box<dyn Read>> {
        let raw: Box<dyn Read> = match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin().lock()),
        };
        unpacked(Counted { raw, taken: Arc::clone(taken) })
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The largest window that a frame may ask memory for. `zstd --long` takes 128 MiB, and says so to whoever unpacks.
const MAX_WINDOW: u64 = 128 << 20;

/// The bytes that some bytes stand for.
pub(crate) fn unpacked(raw: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut raw = BufReader::with_capacity(128 << 10, raw);
    let mut start = Vec::new();
    // A pipe may bring one byte at a time.
    raw.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let skippable = matches!(start.as_slice(), [low, 0x2a, 0x4d, 0x18] if low & 0xf0 == 0x50);
    let (gzip, zstd) = (start.starts_with(GZIP), start == ZSTD || skippable);
    let raw = io::Cursor::new(start).chain(raw);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(BufReader::new(raw)))
    } else if zstd {
        Box::new(Frames::new(BufReader::new(raw)))
    } else {
        Box::new(raw)
    })
}

/// Counts what passes.
struct Counted<R> {
    raw: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The frames of a zstd file one after the other (RFC 8878 §3: a file may have several, some of them to be skipped).
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether the decoder is within a frame.
    open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, open: false }
    }

    /// Begins the next frame; `false` at the end of the file.
    fn next(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.open {
                if buffer.is_empty() || !self.next()? {
                    return Ok(0);
                }
                self.open = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let step = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                step.map_err(|error| damaged(&error))?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.open = false;
            // RFC 8878 §3.1.1: the low 32 bits of XXH64 over what was unpacked.
            let declared = self.decoder.get_checksum_from_data();
            if declared.is_some() && declared != self.decoder.get_calculated_checksum() {
                return Err(damaged(&"its checksum is wrong"));
            }
        }
    }
}

fn damaged(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged zstd data: {why}"))
}
