//! Looks at the bytes of replies before anything is kept of them: what a reply announces has to be within bounds.
//! Pure.
//!
//! It follows the form of RESP2 and RESP3, and no more of it than lengths: what stands in a line or a string is
//! none of its business.

use super::fault::Refusal;

/// The longest line without its end: an error, a number, a status.
const LINE: usize = 64 * 1024;
/// The most digits of a length, a sign included.
const DIGITS: usize = 20;
/// How deep arrays may lie within each other. Those of the library's own commands have two levels.
const DEPTH: usize = 32;
/// The most values of one reply, those inside arrays included.
const VALUES: u64 = 1024 * 1024;
/// The most bytes of one reply, unless a single value may have more.
const REPLY: u64 = 1024 * 1024 * 1024;

/// How long the parts of a reply may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes of one string.
    string: u64,
}

impl Bounds {
    /// What surrounds a value: the head of a loaded one, the form in which a script returns it.
    const AROUND: u64 = 64 * 1024;
    /// Commands of a caller's own may return strings that are no values.
    const LEAST: u64 = 64 * 1024 * 1024;

    /// For replies with values of at most so many bytes.
    pub(super) fn for_values(max: usize) -> Self {
        Self {
            string: (max as u64).max(Self::LEAST).saturating_add(Self::AROUND),
        }
    }

    /// For a connection on which only notifications come.
    pub(super) fn for_notifications() -> Self {
        Self { string: 1024 * 1024 }
    }
}

/// Where in the replies of one connection it is.
#[derive(Debug)]
pub(super) struct Scanner {
    bounds: Bounds,
    place: Place,
    /// How many values are still to come in each array that is open, the innermost last.
    open: Vec<u64>,
    /// What the current reply has had so far.
    values: u64,
    bytes: u64,
    /// Values that have begun, in all replies.
    seen: u64,
    /// Replies that are complete. Pushes do not count.
    replies: u64,
    /// The current reply is a push.
    push: bool,
}

#[derive(Debug)]
enum Place {
    /// Before the first byte of a value.
    Start,
    Line(Line),
    /// In a string, with so many bytes to come, its end included.
    String {
        left: u64,
    },
}

#[derive(Debug)]
struct Line {
    kind: u8,
    length: usize,
    /// The number that it has been so far, where it is one.
    number: Option<i64>,
    is_negative: bool,
    /// Its last byte so far is a carriage return.
    returned: bool,
}

impl Scanner {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            place: Place::Start,
            open: Vec::new(),
            values: 0,
            bytes: 0,
            seen: 0,
            replies: 0,
            push: false,
        }
    }

    /// The values so far, arrays and what is in them counted.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Complete replies so far.
    pub(super) fn replies(&self) -> u64 {
        self.replies
    }

    /// The bytes of the current reply, those included that a string has announced. Zero between two replies.
    pub(super) fn incoming(&self) -> u64 {
        match self.place {
            Place::String { left } => self.bytes + left,
            Place::Start | Place::Line(_) => self.bytes,
        }
    }

    /// Whether the next byte is the first one of a reply or a push.
    pub(super) fn is_between_replies(&self) -> bool {
        matches!(self.place, Place::Start) && self.open.is_empty()
    }

    /// Takes in the next bytes.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let taken = self.scan_reply(bytes)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Takes in the next bytes, up to the end of a reply or a push. Returns how many.
    pub(super) fn scan_reply(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut taken = 0;
        while let Some(&first) = bytes.get(taken) {
            taken += self.step(first, &bytes[taken..])?;
            if self.is_between_replies() {
                break;
            }
        }
        Ok(taken)
    }

    /// Takes in bytes of one line or string, of which there is a first one. Returns how many.
    fn step(&mut self, first: u8, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.place {
            Place::Start => {
                self.place = Place::Line(Line::new(first)?);
                self.begin(first)?;
                self.bytes += 1;
                Ok(1)
            }
            Place::String { left } => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                self.bytes += taken as u64;
                if matches!(self.place, Place::String { left: 0 }) {
                    self.place = Place::Start;
                    self.end();
                }
                Ok(taken)
            }
            Place::Line(line) => {
                let (taken, ended) = line.take(bytes)?;
                self.bytes += taken as u64;
                if ended {
                    let (kind, number) = (line.kind, line.number());
                    self.place = Place::Start;
                    self.end_line(kind, number)?;
                }
                Ok(taken)
            }
        }
    }

    fn begin(&mut self, kind: u8) -> Result<(), Refusal> {
        if self.open.is_empty() && self.values == 0 {
            self.push = kind == b'>';
        }
        self.values += 1;
        self.seen += 1;
        if self.values > VALUES {
            return Err(Refusal::Values { max: VALUES });
        }
        Ok(())
    }

    fn end_line(&mut self, kind: u8, number: Option<i64>) -> Result<(), Refusal> {
        let number = || number.ok_or(Refusal::Form);
        match kind {
            b'$' | b'!' | b'=' => match number()? {
                -1 if kind == b'$' => self.end(),
                length => self.string(u64::try_from(length).map_err(|_| Refusal::Form)?)?,
            },
            b'*' | b'%' | b'~' | b'>' | b'|' => match number()? {
                -1 if kind == b'*' => self.end(),
                count => self.array(kind, u64::try_from(count).map_err(|_| Refusal::Form)?)?,
            },
            b':' => {
                number()?;
                self.end();
            }
            _ => self.end(),
        }
        Ok(())
    }

    fn string(&mut self, length: u64) -> Result<(), Refusal> {
        let max = self.bounds.string;
        if length > max {
            return Err(Refusal::String { length, max });
        }
        let max = REPLY.max(max);
        if self.bytes + length > max {
            return Err(Refusal::Reply { max });
        }
        self.place = Place::String { left: length + 2 };
        Ok(())
    }

    fn array(&mut self, kind: u8, count: u64) -> Result<(), Refusal> {
        let values = match kind {
            b'%' => count.saturating_mul(2),
            // Attributes stand before the value that they belong to.
            b'|' => count.saturating_mul(2).saturating_add(1),
            _ => count,
        };
        if values > VALUES - self.values {
            return Err(Refusal::Values { max: VALUES });
        }
        if values == 0 {
            self.end();
            return Ok(());
        }
        if self.open.len() == DEPTH {
            return Err(Refusal::Depth { max: DEPTH });
        }
        self.open.push(values);
        Ok(())
    }

    /// A value is complete, and with it the arrays whose last it is.
    fn end(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.replies += u64::from(!self.push);
        (self.values, self.bytes) = (0, 0);
    }
}

impl Line {
    fn new(kind: u8) -> Result<Self, Refusal> {
        if !b"+-:$*_,#!=(%~|>".contains(&kind) {
            return Err(Refusal::Form);
        }
        Ok(Self {
            kind,
            length: 0,
            number: is_number(kind).then_some(0),
            is_negative: false,
            returned: false,
        })
    }

    /// Takes in bytes up to the line's end. How many, and whether it has ended.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        if is_number(self.kind) {
            return self.take_digits(bytes);
        }
        for (at, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' && self.returned {
                return Ok((at + 1, true));
            }
            self.returned = byte == b'\r';
            self.length += 1;
            if self.length > LINE {
                return Err(Refusal::Line { max: LINE });
            }
        }
        Ok((bytes.len(), false))
    }

    fn take_digits(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.returned => return Ok((at + 1, true)),
                b'\r' if !self.returned && self.length > usize::from(self.is_negative) => {
                    self.returned = true
                }
                b'-' if self.length == 0 => {
                    self.is_negative = true;
                    self.length = 1;
                }
                b'0'..=b'9' if !self.returned && self.length < DIGITS => {
                    let digit = i64::from(byte - b'0');
                    self.length += 1;
                    // Downwards, because there is one more number below zero than above it.
                    self.number = self
                        .number
                        .and_then(|number| number.checked_mul(10)?.checked_sub(digit));
                }
                _ => return Err(Refusal::Form),
            }
        }
        Ok((bytes.len(), false))
    }

    fn number(&self) -> Option<i64> {
        let number = self.number?;
        if self.is_negative {
            Some(number)
        } else {
            number.checked_neg()
        }
    }
}

/// Whether a line of this kind is a number: an integer or a length.
fn is_number(kind: u8) -> bool {
    matches!(kind, b':' | b'$' | b'*' | b'%' | b'~' | b'>' | b'|' | b'!' | b'=')
}

#[cfg(test)]
#[path = "scanner/tests.rs"]
mod tests;
