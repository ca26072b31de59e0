//! Names of KV blocks by content: a keyed 128-bit hash of everything a block's KV depends on.
//!
//! SipHash-2-4 with 128 bits of output under a secret of the process: a client can neither find
//! two prefixes with one name nor guess a name. Next: `blocks.rs`.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use gimbal_batch::TokenId;

use crate::spans::Span;

/// A map by [`Key`]; the key is a good hash already.
pub(crate) type KeyMap<T> = std::collections::HashMap<Key, T, BuildHasherDefault<KeyHasher>>;

/// The name of a block's content: its own tokens, all tokens before them, and the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    low: u64,
    high: u64,
}

impl Key {
    /// Where the chains of one cache domain begin: equal prefixes under other roots never meet.
    /// `adapter` is its generation.
    pub(crate) fn root(secret: [u64; 2], salt: u64, adapter: u64, lonely: u64) -> Self {
        siphash(secret, [salt, adapter, lonely].into_iter())
    }

    /// The next link of the chain: a block's tokens, and the spans that have tokens among them.
    pub(crate) fn then(
        self,
        secret: [u64; 2],
        mut tokens: impl Iterator<Item = TokenId>,
        spans: &[Span],
    ) -> Self {
        // Two tokens a word. All blocks of a cache have one length, so padding misleads nobody, and
        // what follows them are spans.
        let pairs = std::iter::from_fn(|| {
            let low = tokens.next()?.get();
            Some(u64::from(low) | u64::from(tokens.next().map_or(0, TokenId::get)) << 32)
        });
        let halves = |digest: u128| [0, 64].map(|shift| low_word(digest >> shift));
        let spans = spans.iter().flat_map(|span| {
            let [low, high] = halves(span.digest);
            [u64::from(span.start) | u64::from(span.end()) << 32, low, high]
        });
        siphash(secret, [self.low, self.high].into_iter().chain(pairs).chain(spans))
    }
}

fn low_word(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).expect("64 bits were left")
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// Passes a key's low half through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only keys are hashed, by write_u64");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// SipHash-2-4-128 of a message of whole 64-bit little-endian words.
///
/// **Source**: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), and the 128-bit
/// variant of their reference code.
fn siphash(secret: [u64; 2], words: impl Iterator<Item = u64>) -> Key {
    let [k0, k1] = secret;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let absorb = |v: &mut [u64; 4], word: u64| {
        v[3] ^= word;
        rounds::<2>(v);
        v[0] ^= word;
    };
    let mut count = 0u64;
    for word in words {
        absorb(&mut v, word);
        count += 1;
    }
    // The last word carries the length in bytes, modulo 256, in its top byte.
    absorb(&mut v, (count * 8) << 56);
    v[2] ^= 0xee;
    rounds::<4>(&mut v);
    let low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds::<4>(&mut v);
    Key { low, high: v[0] ^ v[1] ^ v[2] ^ v[3] }
}

fn rounds<const N: usize>(v: &mut [u64; 4]) {
    for _ in 0..N {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ids<const N: usize>(ids: [u32; N]) -> impl Iterator<Item = TokenId> {
        ids.into_iter().map(TokenId::new)
    }

    /// Values of OpenSSL 3 (`openssl mac -macopt size:16 SIPHASH`), key 00..0f, message 00..n.
    #[test]
    fn siphash_equals_another_implementation() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let check = |words: &[u64], low: u64, high: u64| {
            let expect = Key { low: low.swap_bytes(), high: high.swap_bytes() };
            assert_eq!(siphash(secret, words.iter().copied()), expect);
        };
        check(&[], 0xa381_7f04_ba25_a8e6, 0x6df6_7214_c755_0293);
        check(&secret[..1], 0x3b62_a9ba_6258_f561, 0x0f83_e264_f314_97b4);
        check(&secret, 0x6ee2_a4ca_67b0_54bb, 0xfd33_15bf_8523_0577);
    }

    #[test]
    fn every_part_of_a_name_matters() {
        let root = |salt, adapter, lonely| Key::root([1, 2], salt, adapter, lonely);
        let base = root(0, 0, 0);
        for other in [root(1, 0, 0), root(0, 1, 0), root(0, 0, 1)] {
            assert_ne!(base, other);
            assert_ne!(base.then([1, 2], ids([7]), &[]), other.then([1, 2], ids([7]), &[]));
        }
        assert_ne!(base, Key::root([1, 3], 0, 0, 0));
        let block = |tokens: [u32; 3]| base.then([1, 2], ids(tokens), &[]);
        for other in [[9, 2, 3], [1, 9, 3], [1, 2, 9], [2, 1, 3]] {
            assert_ne!(block([1, 2, 3]), block(other));
        }
        let wide = |start, digest, rows: usize| {
            let row: Arc<[f32]> = Arc::default();
            Span { start, digest, rows: vec![row; rows].into() }
        };
        let image = |start, digest| wide(start, digest, 2);
        let block = |spans: &[Span]| base.then([1, 2], ids([1, 2, 3]), spans);
        let (one, other) = (image(1, 5), image(2, 5));
        let spans = [one.clone(), image(1, 6), image(1, 5 | 1 << 64), other.clone(), wide(1, 5, 1)];
        for (at, span) in spans.iter().enumerate() {
            let span = std::slice::from_ref(span);
            assert_ne!(block(span), block(&[]));
            assert!(at == 0 || block(span) != block(&spans[..1]));
        }
        assert_ne!(block(&[one.clone(), other]), block(&[one]));
    }
}
