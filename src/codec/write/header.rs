//! The first bytes of MessagePack values, each in its shortest form.

pub(super) const EMPTY_MAP: u8 = 0x80;
pub(super) const EMPTY_ARRAY: u8 = 0x90;

/// The size of the header that [`binary_32`] writes.
pub(super) const BINARY_32: usize = 5;

/// A marker and what always follows it.
#[inline]
pub(super) fn marked<const N: usize>(output: &mut Vec<u8>, marker: u8, rest: [u8; N]) {
    output.push(marker);
    output.extend_from_slice(&rest);
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each number is cast to a type that holds it"
)]
#[inline]
pub(super) fn unsigned(output: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => output.push(number as u8),
        0x80..=0xff => marked(output, 0xcc, [number as u8]),
        0x100..=0xffff => marked(output, 0xcd, (number as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => marked(output, 0xce, (number as u32).to_be_bytes()),
        _ => marked(output, 0xcf, number.to_be_bytes()),
    }
}

#[inline]
pub(super) fn signed(output: &mut Vec<u8>, number: i64) {
    if let Ok(number) = u64::try_from(number) {
        unsigned(output, number);
    } else if let Ok(number) = i8::try_from(number) {
        match number {
            -32.. => output.push(number.cast_unsigned()),
            _ => marked(output, 0xd0, number.to_be_bytes()),
        }
    } else if let Ok(number) = i16::try_from(number) {
        marked(output, 0xd1, number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        marked(output, 0xd2, number.to_be_bytes());
    } else {
        marked(output, 0xd3, number.to_be_bytes());
    }
}

/// The markers of a length: of up to 4 or 5 bits within the marker, of 8, 16 and 32 bits after it.
struct Markers {
    /// The marker of length 0 and the first length that no longer fits into it.
    within: Option<(u8, u32)>,
    byte: Option<u8>,
    short: u8,
    long: u8,
}

impl Markers {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each length is cast to a type that holds it"
    )]
    #[inline]
    fn write(&self, output: &mut Vec<u8>, len: u32) {
        match (self.within, self.byte) {
            (Some((marker, end)), _) if len < end => output.push(marker | len as u8),
            (_, Some(marker)) if len <= 0xff => marked(output, marker, [len as u8]),
            _ if len <= 0xffff => marked(output, self.short, (len as u16).to_be_bytes()),
            _ => marked(output, self.long, len.to_be_bytes()),
        }
    }
}

macro_rules! lengths {
    ($($name:ident: $within:expr, $byte:expr, $short:literal, $long:literal;)*) => {$(
        #[inline]
        pub(super) fn $name(output: &mut Vec<u8>, len: u32) {
            let markers = Markers { within: $within, byte: $byte, short: $short, long: $long };
            markers.write(output, len);
        }
    )*};
}

lengths! {
    map: Some((EMPTY_MAP, 16)), None, 0xde, 0xdf;
    array: Some((EMPTY_ARRAY, 16)), None, 0xdc, 0xdd;
    string: Some((0xa0, 32)), Some(0xd9), 0xda, 0xdb;
    binary: None, Some(0xc4), 0xc5, 0xc6;
    extension: None, Some(0xc7), 0xc8, 0xc9;
}

/// The header of a binary in the one form of its length that marks it as a sequence of `u8`.
#[inline]
pub(super) fn binary_32(output: &mut Vec<u8>, len: u32) {
    marked(output, 0xc6, len.to_be_bytes());
}

/// Writes the value at the end, which begins at `at`, as an extension. It has to be an array of two: an
/// integer that fits `i8`, and a binary. Returns whether it is.
pub(super) fn pair_to_extension(output: &mut Vec<u8>, at: usize) -> bool {
    let (tag, binary) = match output[at..] {
        [0x92, tag @ (0x00..=0x7f | 0xe0..=0xff), ref binary @ ..] => (tag, binary),
        [0x92, 0xd0, tag, ref binary @ ..] => (tag, binary),
        _ => return false,
    };
    let payload = match *binary {
        [0xc4, _, ref payload @ ..]
        | [0xc5, _, _, ref payload @ ..]
        | [0xc6, _, _, _, _, ref payload @ ..] => payload.to_vec(),
        _ => return false,
    };
    output.truncate(at);
    match payload.len() {
        len @ (1 | 2 | 4 | 8 | 16) => output.push(0xd4 + len.trailing_zeros() as u8),
        len => match u32::try_from(len) {
            Ok(len) => extension(output, len),
            Err(_) => return false,
        },
    }
    output.push(tag);
    output.extend_from_slice(&payload);
    true
}
