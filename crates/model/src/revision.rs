//! Positions in the journal.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Which history a revision number counts in. It changes when history was lost or rewound.
///
/// Shown as eight lower-case characters of Crockford's base 32 (no `i`, `l`, `o`, `u`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(NonZeroU64);

/// A position in the journal: an epoch and the number of a commit within it.
///
/// Number 0 is the empty journal; the first commit has number 1. The text form
/// `EPOCH.NUMBER` is the one token that every protocol carries. Numbers compare only within one
/// epoch, which is why this type has no `Ord`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Revision {
    /// The history that `number` counts in.
    pub epoch: Epoch,
    /// The number of the commit, contiguous from 1 within the epoch.
    pub number: u64,
}

/// Why a text is not a revision token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a revision is EPOCH.NUMBER, eight letters or digits, a dot and a number, like `k3f9x2ab.1042`")]
pub struct ParseRevisionError;

const EPOCH_CHARS: usize = 8;
const EPOCH_BITS: u32 = 40;
/// Digits of the largest number.
const NUMBER_DIGITS: usize = 20;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Epoch {
    /// An epoch from random bits; the low 40 are used.
    pub fn from_random(bits: u64) -> Self {
        let bits = bits & ((1 << EPOCH_BITS) - 1);
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// The bits of the epoch, as stored in files. Below 2^40 and never 0.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The epoch with exactly these bits, if they are in range.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).filter(|bits| bits.get() >> EPOCH_BITS == 0).map(Self)
    }

    /// The revision with this number in this epoch.
    pub fn at(self, number: u64) -> Revision {
        Revision { epoch: self, number }
    }
}

impl Epoch {
    fn text(self) -> [u8; EPOCH_CHARS] {
        let mut text = [0u8; EPOCH_CHARS];
        let mut bits = self.0.get();
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        text
    }
}

impl Revision {
    /// Appends the token. Formatting does the same and takes several times as long, which counts where every frame of every
    /// feed holds two.
    pub fn append_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.text());
        let mut digits = [0u8; 1 + NUMBER_DIGITS];
        let mut at = digits.len();
        let mut number = self.number;
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        at -= 1;
        digits[at] = b'.';
        out.extend_from_slice(&digits[at..]);
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Epoch {
    type Err = ParseRevisionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != EPOCH_CHARS {
            return Err(ParseRevisionError);
        }
        let mut bits = 0u64;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(ParseRevisionError)?;
            bits = bits << 5 | digit as u64;
        }
        Self::from_bits(bits).ok_or(ParseRevisionError)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for Revision {
    type Err = ParseRevisionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, number) = text.split_once('.').ok_or(ParseRevisionError)?;
        let canonical = !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && (number == "0" || !number.starts_with('0'));
        if !canonical {
            return Err(ParseRevisionError);
        }
        Ok(Self { epoch: epoch.parse()?, number: number.parse().map_err(|_| ParseRevisionError)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_revision_round_trips(bits: u64, number: u64) {
            let revision = Epoch::from_random(bits).at(number);
            prop_assert_eq!(revision.to_string().parse::<Revision>(), Ok(revision));
            let mut token = b"behind ".to_vec();
            revision.append_to(&mut token);
            prop_assert_eq!(token, format!("behind {revision}").into_bytes());
        }

        #[test]
        fn no_two_texts_are_one_revision(text in "\\PC{0,24}") {
            if let Ok(revision) = text.parse::<Revision>() {
                prop_assert_eq!(revision.to_string(), text);
            }
        }
    }

    #[test]
    fn the_least_and_the_largest_number_are_written() {
        for number in [0, 9, 10, u64::MAX] {
            let (revision, mut token) = (Epoch::from_random(1).at(number), Vec::new());
            revision.append_to(&mut token);
            assert_eq!(token, format!("00000001.{number}").into_bytes());
        }
    }

    #[test]
    fn refuses_what_is_not_a_token() {
        for text in [
            "",
            ".",
            "1",
            "k3f9x2ab",
            "k3f9x2ab.",
            ".1",
            "k3f9x2ab.01",
            "k3f9x2ab.+1",
            "K3F9X2AB.1",
            "k3f9x2ab.-1",
            "00000000.1",
            "k3f9x2a.1",
            "k3f9x2ab.18446744073709551616",
            "k3f9x2ab.1 ",
            "\"k3f9x2ab.1\"",
        ] {
            assert_eq!(text.parse::<Revision>(), Err(ParseRevisionError), "{text:?}");
        }
    }
}
