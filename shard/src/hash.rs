//! Two fixed hash functions, written out so that no dependency's release can change where data lies or how replicas
//! compare. Neither resists an adversary; nothing here needs that.

/// FNV-1a with its published 64-bit parameters.
pub(crate) fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of `MurmurHash3`: every bit of the input moves every bit of the result. A bijection.
pub(crate) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A hash of a sequence of fields, 8 bytes at a time. Byte strings count with their length, so fields do not run
/// into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn number(&mut self, number: u64) {
        // The constant (2^64 divided by the golden ratio) keeps a state of 0 from staying 0.
        self.0 = mix(self.0 ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.number(u64::from_le_bytes(word));
        }
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_has_its_published_values() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_digest_tells_fields_apart() {
        let of = |fields: &[&[u8]]| {
            let mut digest = Digest::default();
            for field in fields {
                digest.bytes(field);
            }
            digest.value()
        };
        let all = [of(&[]), of(&[b""]), of(&[b"ab", b"c"]), of(&[b"a", b"bc"]), of(&[b"abc"]), of(&[b"abc\0"])];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one), "field list {n}");
        }
    }
}
