//! The bytes of one open file, plain or packed with gzip (RFC 1952).

use flate2::read::MultiGzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// An open file.
pub(super) struct Body {
    file: Arc<File>,
    packed: Option<Packed>,
}

/// Unpacks from front to back only.
struct Packed {
    decoder: MultiGzDecoder<BufReader<Shared>>,
    at: u64,
}

struct Shared(Arc<File>, u64);

impl Read for Shared {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buf, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("packed", &self.packed.is_some()).finish_non_exhaustive()
    }
}

/// How files begin that are packed in a way that is not read here.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
];

impl Body {
    /// Opens `path` for reading.
    pub(super) fn open(path: &Path) -> io::Result<(Body, Metadata)> {
        use std::os::unix::fs::OpenOptionsExt;
        // A FIFO in a file's place must not hold this thread.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = Arc::new(file);
        let mut body = Body { file, packed: None };
        if body.front(2)? == b"\x1f\x8b" {
            body.packed = Some(Packed { decoder: body.decoder(), at: 0 });
        }
        Ok((body, meta))
    }

    fn decoder(&self) -> MultiGzDecoder<BufReader<Shared>> {
        MultiGzDecoder::new(BufReader::with_capacity(64 << 10, Shared(Arc::clone(&self.file), 0)))
    }

    pub(super) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// In what it is packed, if that is not read here.
    pub(super) fn unreadable(&self) -> io::Result<Option<&'static str>> {
        let front = self.front(6)?;
        Ok(OTHERS.iter().find(|(magic, _)| front.starts_with(magic)).map(|(_, name)| *name))
    }

    pub(super) fn meta(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The first `len` bytes of the file as it lies on the disk; fewer if it has fewer.
    pub(super) fn front(&self, len: usize) -> io::Result<Vec<u8>> {
        self.on_disk(0, len)
    }

    /// `len` bytes from `at`, as they lie on the disk; fewer at its end.
    pub(super) fn on_disk(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let Some(rest) = out.get_mut(filled..) else { break };
            match self.file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.truncate(filled);
        Ok(out)
    }

    /// Reads content from `at`, unpacked; 0 = the end. A packed file that breaks off is `UnexpectedEof`.
    pub(super) fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.packed.is_none() {
            return self.file.read_at(buf, at);
        }
        if self.packed.as_ref().is_some_and(|packed| packed.at > at) {
            let decoder = self.decoder();
            self.packed = Some(Packed { decoder, at: 0 });
        }
        let Some(packed) = &mut self.packed else { return Ok(0) };
        while packed.at < at {
            let most = usize::try_from(at - packed.at).unwrap_or(usize::MAX).min(buf.len());
            let skipped = packed.decoder.read(buf.get_mut(..most).unwrap_or_default())?;
            if skipped == 0 {
                return Ok(0);
            }
            packed.at += skipped as u64;
        }
        let read = packed.decoder.read(buf)?;
        packed.at += read as u64;
        Ok(read)
    }

    /// Begins unpacking again at the next read: the file has grown.
    pub(super) fn rewind(&mut self) {
        if self.packed.is_some() {
            let decoder = self.decoder();
            self.packed = Some(Packed { decoder, at: 0 });
        }
    }
}
