//! Depth and lengths, settled without recursion.
//!
//! Stored bytes are scanned before serde sees them. The serializer is stopped at the level that is one
//! too many: that of MessagePack runs under an adapter which counts levels, and that of JSON has a formatter
//! which is told of every bracket.

use std::io;

use super::MAX_DEPTH;
use super::error::{DecodeError, DecodeErrorKind};

/// Room for a small model, to begin with.
pub(super) const FIRST_CAPACITY: usize = 128;

/// Refuses bytes that are not exactly one MessagePack value of at most [`MAX_DEPTH`] levels.
///
/// After this every claimed length is known to be backed by bytes.
pub(crate) fn check_message_pack(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut scan = MessagePackScan::new();
    scan.advance_value(bytes)?;
    if scan.left > 0 || scan.at > bytes.len() {
        return Err(DecodeError::new(DecodeErrorKind::Truncated, Some(bytes.len())));
    }
    if scan.at < bytes.len() {
        return Err(scan.fault(DecodeErrorKind::TrailingBytes));
    }
    Ok(())
}

/// Refuses JSON of more than [`MAX_DEPTH`] levels; all else is left to the parser.
pub(crate) fn check_json(bytes: &[u8]) -> Result<(), DecodeError> {
    // Text with no more opening brackets than levels cannot nest deeper, wherever they stand, and
    // nearly all models end here. The two brackets differ in one bit, which the mask clears; counts
    // of 128 bytes fit a byte, so that the compiler adds them up by the vector.
    let opens = |byte: &u8| u8::from(byte & 0xdf == b'[');
    let count = |chunk: &[u8]| usize::from(chunk.iter().map(opens).sum::<u8>());
    let openings: usize = bytes.chunks(128).map(count).sum();
    if openings <= MAX_DEPTH {
        return Ok(());
    }
    walk_json(bytes)
}

/// Counts brackets outside strings and leaves the grammar to the parser: up to the first byte that
/// it refuses the brackets pair, so the count is never less than its own.
fn walk_json(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut levels = 0_usize;
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            // The byte after it means nothing here, a quotation mark included.
            b'\\' => at += 1,
            b'[' | b'{' if !in_string => {
                if levels == MAX_DEPTH {
                    return Err(DecodeError::new(DecodeErrorKind::TooDeep, Some(at)));
                }
                levels += 1;
            }
            b']' | b'}' if !in_string => levels = levels.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// A walk over MessagePack: it reads headers, and skips strings and binaries by their length.
pub(super) struct MessagePackScan {
    /// The next header. It lies past the end if a string claims more bytes than there are.
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
    #[inline]
    pub(super) fn advance_value(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        while self.left > 0
            && let Some(&marker) = bytes.get(self.at)
        {
            let fixed = FIXED_SIZES[usize::from(marker)];
            if fixed > 0 {
                self.at += usize::from(fixed);
                self.left -= 1;
            } else {
                let Some(header) = Header::read(&bytes[self.at..]) else {
                    return match marker {
                        0xc1 => Err(self.fault(DecodeErrorKind::Malformed)),
                        _ => Ok(()),
                    };
                };
                self.enter(header)?;
            }
            while self.left == 0 && self.levels > 0 {
                self.levels -= 1;
                self.left = self.outer[self.levels];
            }
        }
        Ok(())
    }

    /// Passes a header, and into the level that it opens.
    fn enter(&mut self, header: Header) -> Result<(), DecodeError> {
        self.left -= 1;
        if let Some(values) = header.values {
            let Some(outer) = self.outer.get_mut(self.levels) else {
                return Err(self.fault(DecodeErrorKind::TooDeep));
            };
            *outer = self.left;
            self.levels += 1;
            self.left = values;
        }
        // A length that ends past the address space ends past the bytes just as well.
        self.at = self.at.saturating_add(header.size);
        Ok(())
    }

    #[cold]
    fn fault(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, Some(self.at))
    }
}

/// The size of each value that is known by its first byte, and 0 for the others.
const FIXED_SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    let mut marker: u8 = 0;
    loop {
        sizes[marker as usize] = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => 1,
            0xa0..=0xbf => 1 + (marker & 0x1f),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 | 0xd4 => 3,
            0xd5 => 4,
            0xca | 0xce | 0xd2 => 5,
            0xd6 => 6,
            0xcb | 0xcf | 0xd3 => 9,
            0xd7 => 10,
            0xd8 => 18,
            _ => 0,
        };
        if marker == u8::MAX {
            break sizes;
        }
        marker += 1;
    }
};

/// The start of a value whose size its first byte does not tell.
struct Header {
    /// Up to the next header: with the payload of a string, without the values of an array.
    size: usize,
    /// How many values an array or a map consists of.
    values: Option<u64>,
}

impl Header {
    /// The header at the start of `bytes`, or `None` while it is not all there.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&marker, rest) = bytes.split_first()?;
        Some(match marker {
            0x80..=0x8f => Self::level(1, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => Self::level(1, u64::from(marker & 0x0f)),
            0xc4 | 0xd9 => Self::payload(2, u32::from(*rest.first()?)),
            0xc5 | 0xda => Self::payload(3, u32::from(be16(rest)?)),
            0xc6 | 0xdb => Self::payload(5, be32(rest)?),
            // Extensions have a byte for their type between length and payload.
            0xc7 => Self::payload(3, u32::from(*rest.first()?)),
            0xc8 => Self::payload(4, u32::from(be16(rest)?)),
            0xc9 => Self::payload(6, be32(rest)?),
            0xdc => Self::level(3, u64::from(be16(rest)?)),
            0xdd => Self::level(5, u64::from(be32(rest)?)),
            0xde => Self::level(3, 2 * u64::from(be16(rest)?)),
            0xdf => Self::level(5, 2 * u64::from(be32(rest)?)),
            _ => return None,
        })
    }

    fn payload(header: usize, payload: u32) -> Self {
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        Self {
            size: header.saturating_add(payload),
            values: None,
        }
    }

    fn level(size: usize, values: u64) -> Self {
        Self {
            size,
            values: Some(values),
        }
    }
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// A formatter of compact JSON that fails at the level that is one too many.
#[derive(Default)]
pub(super) struct LevelFormatter {
    levels: usize,
}

impl LevelFormatter {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        // Written even if it is too deep, so that a later check of the bytes finds it.
        writer.write_all(bracket)?;
        if self.levels == MAX_DEPTH {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.levels += 1;
        Ok(())
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.levels -= 1;
        writer.write_all(bracket)
    }
}

impl serde_json::ser::Formatter for LevelFormatter {
    #[inline]
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    #[inline]
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    #[inline]
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    #[inline]
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }
}
