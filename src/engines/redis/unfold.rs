//! The replies to a transaction, as if its commands had been sent without one. Pure.
//!
//! A server answers each command of a transaction with `QUEUED`, and `EXEC` with an array. Reading both costs as much as the
//! replies of twice as many commands. So the `QUEUED`s are left out here, what the array holds is shown in their places, and
//! the reply to `EXEC` is `OK`. The number of replies stays the same. The replies to a transaction that was refused are shown
//! as they are.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::io::ReadBuf;

use super::fault::Refusal;
use super::scanner::Scanner;

const QUEUED: &[u8] = b"+QUEUED\r\n";
const DONE: &[u8] = b"+OK\r\n";

/// Tells a connection's reader where transactions are.
#[derive(Debug, Clone)]
pub(super) struct Announcer(Sender<Range<u64>>);

impl Announcer {
    /// Which of the connection's replies are those to the commands of a transaction, before it is sent.
    pub(super) fn announce(&self, queued: Range<u64>) {
        // Without a reader there is no reply.
        let _ = self.0.send(queued);
    }
}

/// The reader's side: where in the replies it is.
#[derive(Debug)]
pub(super) struct Unfolding {
    /// One for each transaction under way, whose number is bounded by that of pipelines.
    announced: Receiver<Range<u64>>,
    /// The replies to the commands of the next transaction. Those before the current reply are left out.
    next: Option<Range<u64>>,
    stage: Stage,
    /// What the current line has had so far, if it decides.
    line: Vec<u8>,
    /// What has been held back and is shown before anything else.
    owed: VecDeque<u8>,
}

/// How the bytes up to the end of a line or a reply are taken.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The reply is shown as it is.
    Shown,
    /// The line decides: so many `QUEUED`s of so many were left out.
    Deciding { left_out: u64, of: u64 },
    /// The values of the array are shown.
    Unfolded,
}

/// Both sides for one connection.
pub(super) fn unfolding() -> (Announcer, Unfolding) {
    let (announcer, announced) = channel();
    let unfolding = Unfolding {
        announced,
        next: None,
        stage: Stage::Shown,
        line: Vec::new(),
        owed: VecDeque::new(),
    };
    (Announcer(announcer), unfolding)
}

impl Unfolding {
    /// Takes in bytes, as far as there is room for what they show. Returns how many.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        scanner: &mut Scanner,
        to: &mut ReadBuf<'_>,
    ) -> Result<usize, Refusal> {
        let mut taken = 0;
        while let Some(first) = bytes.get(taken)
            && to.remaining() > 0
            && self.owed.is_empty()
        {
            self.next = self.next.take().or_else(|| self.announced.try_recv().ok());
            if scanner.is_between_replies() {
                self.stage = self.begin(*first, scanner.replies());
            }
            let rest = &bytes[taken..];
            taken += match self.stage {
                Stage::Deciding { left_out, of } => self.decide(rest, scanner, left_out, of)?,
                Stage::Shown | Stage::Unfolded => {
                    let rest = &rest[..rest.len().min(to.remaining())];
                    let length = match self.next {
                        Some(_) => scanner.scan_reply(rest)?,
                        None => scanner.scan(rest).map(|()| rest.len())?,
                    };
                    to.put_slice(&rest[..length]);
                    length
                }
            };
            if matches!(self.stage, Stage::Unfolded) && scanner.is_between_replies() {
                self.owed.extend(DONE);
                self.next = None;
            }
            self.show(to);
        }
        Ok(taken)
    }

    /// Shows what has been held back, as far as there is room.
    pub(super) fn show(&mut self, to: &mut ReadBuf<'_>) {
        while !self.owed.is_empty() && to.remaining() > 0 {
            let (owed, _) = self.owed.as_slices();
            let length = owed.len().min(to.remaining());
            to.put_slice(&owed[..length]);
            self.owed.drain(..length);
        }
    }

    /// How a reply is taken that begins with this byte, after so many others. A push is no reply.
    fn begin(&self, first: u8, replies: u64) -> Stage {
        match &self.next {
            Some(queued) if queued.start <= replies && first != b'>' => Stage::Deciding {
                left_out: replies - queued.start,
                of: queued.end - queued.start,
            },
            _ => Stage::Shown,
        }
    }

    /// Takes in bytes of a line, and decides at its end. Returns how many.
    fn decide(
        &mut self,
        bytes: &[u8],
        scanner: &mut Scanner,
        left_out: u64,
        of: u64,
    ) -> Result<usize, Refusal> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(bytes.len(), |end| end + 1);
        let bytes = &bytes[..length];
        scanner.scan(bytes)?;
        self.line.extend_from_slice(bytes);
        if end.is_some() {
            self.stage = if left_out < of && self.line == QUEUED {
                Stage::Shown
            } else if left_out == of && self.line == format!("*{of}\r\n").as_bytes() {
                Stage::Unfolded
            } else {
                (0..left_out).for_each(|_| self.owed.extend(QUEUED));
                self.owed.extend(&self.line);
                self.next = None;
                Stage::Shown
            };
            self.line.clear();
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
