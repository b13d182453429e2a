//! What every body begins with: the run it belongs to, which message it is, and when it was meant to be sent.
//!
//! Text, so that a consumer over HTTP sees it as it was written:
//!
//! | 0..8 run | 8..24 number of the message | 24..40 intended moment, ns since the run's start | lower-case hex

pub const STAMP_LEN: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub run: u32,
    pub number: u64,
    pub intended_ns: u64,
}

impl Stamp {
    pub fn write(self, to: &mut [u8]) {
        hex(self.run.into(), &mut to[..8]);
        hex(self.number, &mut to[8..24]);
        hex(self.intended_ns, &mut to[24..STAMP_LEN]);
    }

    /// `None`: not one of ours.
    pub fn read(body: &[u8]) -> Option<Stamp> {
        let number = |from: usize, to: usize| {
            let digits = body.get(from..to)?;
            let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(is_digit))?;
            u64::from_str_radix(text, 16).ok()
        };
        let run = u32::try_from(number(0, 8)?).ok()?;
        Some(Stamp { run, number: number(8, 24)?, intended_ns: number(24, STAMP_LEN)? })
    }
}

/// As many digits as there is room for.
fn hex(mut value: u64, to: &mut [u8]) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

/// The last digits of a message's id, upper-case as RocketMQ writes them.
pub fn write_id(number: u32, to: &mut [u8]) {
    hex(number.into(), to);
    to.make_ascii_uppercase();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_and_nothing_else_does() {
        let stamp = Stamp { run: 0xdead_beef, number: u64::MAX - 1, intended_ns: 1_000_000_007 };
        let mut body = [b'x'; 64];
        stamp.write(&mut body);
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert_eq!(body[STAMP_LEN], b'x');
        for body in [&b""[..], &body[..39], b"hello, this is no stamp but a text of some length", &[b'F'; 40]] {
            assert_eq!(Stamp::read(body), None);
        }
    }

    #[test]
    fn ids_end_in_their_number() {
        let mut id = *b"01xxxxxxxx";
        write_id(0xab_cdef, &mut id[2..]);
        assert_eq!(&id, b"0100ABCDEF");
    }
}
