//! Depth and lengths, settled without recursion.
//!
//! A scan walks over encoded bytes that may still be growing: [`advance`](Scan::advance) goes as
//! far as whole headers reach and picks up there when more has come. Stored bytes are scanned in
//! one step before serde sees them; bytes being written are scanned write by write, so that the
//! serializer is stopped at the level that is one too many.

use std::io;

use super::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use super::{MAX_DEPTH, error};

/// Refuses bytes that are not exactly one MessagePack value of at most [`MAX_DEPTH`] levels.
///
/// After this every claimed length is known to be backed by bytes.
pub(crate) fn check_message_pack(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut scan = MessagePackScan::new();
    scan.advance(bytes)?;
    scan.finish(bytes.len())
}

/// Refuses JSON of more than [`MAX_DEPTH`] levels; all else is left to the parser.
pub(crate) fn check_json(bytes: &[u8]) -> Result<(), DecodeError> {
    // Text with no more opening brackets than levels cannot nest deeper, wherever they stand. The
    // count runs on whole vectors of bytes, and nearly all models end here. The two brackets
    // differ in one bit, which the mask clears.
    let openings = bytes.iter().filter(|&&byte| byte & 0xdf == b'[').count();
    if openings <= MAX_DEPTH {
        return Ok(());
    }
    JsonScan::new().advance(bytes)
}

/// A resumable walk over encoded bytes.
pub(super) trait Scan {
    /// Walks on over `bytes`, which are those of the call before and whatever has been added.
    fn advance(&mut self, bytes: &[u8]) -> Result<(), DecodeError>;

    /// Whether the `len` bytes that were walked over are a whole value.
    fn finish(&self, len: usize) -> Result<(), DecodeError>;
}

/// The walk over MessagePack: headers are read, strings and binaries are skipped by their length.
#[derive(Debug)]
pub(super) struct MessagePackScan {
    /// The next header. It lies past the end while a skipped string is still being written.
    at: usize,
    /// Values that the innermost open level still lacks; a map's entry is two.
    left: u64,
    levels: usize,
    /// What `left` was for each level around the innermost, outermost first.
    outer: [u64; MAX_DEPTH],
}

impl MessagePackScan {
    pub(super) fn new() -> Self {
        Self {
            at: 0,
            left: 1,
            levels: 0,
            outer: [0; MAX_DEPTH],
        }
    }

    /// Where the value ends, once it has been walked over.
    pub(super) fn end(&self) -> usize {
        self.at
    }

    /// Walks on to the end of the one value, and no further.
    pub(super) fn advance_value(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        while self.left > 0 {
            let Some(header) = bytes.get(self.at..).and_then(Header::read) else {
                break;
            };
            let (size, values) = match header {
                Header::Scalar { size } => (size, None),
                Header::Level { size, values } => (size, Some(values)),
                Header::Reserved => return Err(self.fault(DecodeErrorKind::Malformed)),
            };
            self.left -= 1;
            if let Some(values) = values {
                let Some(outer) = self.outer.get_mut(self.levels) else {
                    return Err(self.fault(DecodeErrorKind::TooDeep));
                };
                *outer = self.left;
                self.levels += 1;
                self.left = values;
            }
            // A claimed length near the end of the address space leads past all bytes either way.
            self.at = self.at.saturating_add(size);
            while self.left == 0 && self.levels > 0 {
                self.levels -= 1;
                self.left = self.outer[self.levels];
            }
        }
        Ok(())
    }

    #[cold]
    fn fault(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, Some(self.at))
    }
}

impl Scan for MessagePackScan {
    fn advance(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.advance_value(bytes)?;
        if self.left == 0 && self.at < bytes.len() {
            return Err(self.fault(DecodeErrorKind::TrailingBytes));
        }
        Ok(())
    }

    fn finish(&self, len: usize) -> Result<(), DecodeError> {
        if self.left > 0 || self.at > len {
            return Err(DecodeError::new(DecodeErrorKind::Truncated, Some(len)));
        }
        Ok(())
    }
}

/// What a MessagePack value begins with.
enum Header {
    /// A value without parts; `size` counts header and payload.
    Scalar { size: usize },
    /// An array or a map of so many values; `size` counts the header alone.
    Level { size: usize, values: u64 },
    /// The one byte that begins nothing.
    Reserved,
}

impl Header {
    /// The header at the start of `bytes`, or `None` while it is not all there.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&marker, rest) = bytes.split_first()?;
        Some(match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Self::Scalar { size: 1 },
            0x80..=0x8f => Self::level(1, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => Self::level(1, u64::from(marker & 0x0f)),
            0xa0..=0xbf => Self::scalar(1, u32::from(marker & 0x1f)),
            0xc1 => Self::Reserved,
            0xc4 | 0xd9 => Self::scalar(2, u32::from(*rest.first()?)),
            0xc5 | 0xda => Self::scalar(3, u32::from(be16(rest)?)),
            0xc6 | 0xdb => Self::scalar(5, be32(rest)?),
            // Extensions have a byte for their type between length and payload.
            0xc7 => Self::scalar(3, u32::from(*rest.first()?)),
            0xc8 => Self::scalar(4, u32::from(be16(rest)?)),
            0xc9 => Self::scalar(6, be32(rest)?),
            0xcc | 0xd0 => Self::Scalar { size: 2 },
            0xcd | 0xd1 | 0xd4 => Self::Scalar { size: 3 },
            0xd5 => Self::Scalar { size: 4 },
            0xca | 0xce | 0xd2 => Self::Scalar { size: 5 },
            0xd6 => Self::Scalar { size: 6 },
            0xcb | 0xcf | 0xd3 => Self::Scalar { size: 9 },
            0xd7 => Self::Scalar { size: 10 },
            0xd8 => Self::Scalar { size: 18 },
            0xdc => Self::level(3, u64::from(be16(rest)?)),
            0xdd => Self::level(5, u64::from(be32(rest)?)),
            0xde => Self::level(3, 2 * u64::from(be16(rest)?)),
            0xdf => Self::level(5, 2 * u64::from(be32(rest)?)),
        })
    }

    fn scalar(header: usize, payload: u32) -> Self {
        let size = header.saturating_add(usize::try_from(payload).unwrap_or(usize::MAX));
        Self::Scalar { size }
    }

    fn level(size: usize, values: u64) -> Self {
        Self::Level { size, values }
    }
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// The walk over JSON: it counts brackets outside strings and leaves the grammar to the parser.
///
/// Up to the first byte that the parser refuses the brackets pair, so the count is never less than
/// the parser's own.
#[derive(Debug)]
pub(super) struct JsonScan {
    /// The next byte. It lies past the end while the byte after a backslash has not come.
    at: usize,
    levels: usize,
    in_string: bool,
}

impl JsonScan {
    pub(super) fn new() -> Self {
        Self {
            at: 0,
            levels: 0,
            in_string: false,
        }
    }
}

impl Scan for JsonScan {
    fn advance(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        while let Some(rest) = bytes.get(self.at..)
            && !rest.is_empty()
        {
            let halt = if self.in_string {
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))
            } else {
                let signs = |byte: &u8| matches!(byte, b'"' | b'[' | b'{' | b']' | b'}');
                rest.iter().position(signs)
            };
            let Some(halt) = halt else {
                self.at = bytes.len();
                break;
            };
            self.at += halt;
            match rest[halt] {
                b'"' => self.in_string = !self.in_string,
                // The byte after it means nothing here, a quotation mark included.
                b'\\' => self.at += 1,
                b'[' | b'{' if self.levels == MAX_DEPTH => {
                    return Err(DecodeError::new(DecodeErrorKind::TooDeep, Some(self.at)));
                }
                b'[' | b'{' => self.levels += 1,
                _ => self.levels = self.levels.saturating_sub(1),
            }
            self.at += 1;
        }
        Ok(())
    }

    fn finish(&self, _len: usize) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Where serializers write to: it keeps the bytes, scans them, and refuses more after a fault.
///
/// Whatever it lets pass is what the check before decoding lets pass. rmp-serde writes sequences
/// and maps of unknown length (`#[serde(flatten)]`) in one piece when they end, so their depth is
/// found then, not while they are built.
#[derive(Debug)]
pub(super) struct Output<S> {
    bytes: Vec<u8>,
    scan: S,
    fault: Option<DecodeError>,
}

impl<S: Scan> Output<S> {
    pub(super) fn new(scan: S) -> Self {
        Self {
            bytes: Vec::new(),
            scan,
            fault: None,
        }
    }

    /// The bytes, if neither the scan nor the serializer found fault. The scan comes first: a
    /// `Serialize` can hide a writer's error from its serializer.
    pub(super) fn finish<E>(
        self,
        result: Result<(), E>,
        kind: impl FnOnce(&E) -> EncodeErrorKind,
    ) -> Result<Vec<u8>, EncodeError> {
        if let Some(fault) = self.fault {
            return Err(error::written_fault(&fault));
        }
        result.map_err(|error| EncodeError::new(kind(&error), Some(self.bytes.len())))?;
        match self.scan.finish(self.bytes.len()) {
            Ok(()) => Ok(self.bytes),
            Err(fault) => Err(error::written_fault(&fault)),
        }
    }
}

impl<S: Scan> io::Write for Output<S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fault.is_none() {
            self.bytes.extend_from_slice(bytes);
            self.fault = self.scan.advance(&self.bytes).err();
        }
        match self.fault {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
