//! The slot of a key: CRC16 of its hash tag, by the polynomial of XMODEM.

/// How many slots a cluster has.
pub(in crate::engines::redis) const SLOTS: u16 = 16_384;

/// The slot of a key. If the key has a hash tag, only the tag is hashed: the text between the first `{` and the next `}`,
/// unless it is empty.
pub(in crate::engines::redis) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag_of(key).unwrap_or(key)) % SLOTS
}

fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')? + 1;
    let length = key[open..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &key[open..open + length])
}

/// The checksum of each byte alone.
const OF_BYTE: [u16; 256] = {
    let mut all = [0; 256];
    let mut byte = 0;
    while byte < all.len() {
        // At most 255.
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
            bit += 1;
        }
        all[byte] = crc;
        byte += 1;
    }
    all
};

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, low] = crc.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ OF_BYTE[usize::from(high ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `CLUSTER KEYSLOT` of Redis 7.0 answers.
    #[test]
    fn slots_are_those_of_the_server() {
        for (key, slot) in [
            ("123456789", 12_739),
            ("", 0),
            ("app", 6805),
            ("{app}:a{b}c", 6805),
            ("x{app}{y}", 6805),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"{}app"), crc16(b"{}app") % SLOTS);
        assert_eq!(slot_of(b"{app"), crc16(b"{app") % SLOTS);
        assert_eq!(slot_of(b"}{app}"), 6805);
    }
}
