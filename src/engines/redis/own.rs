//! Commands that the engine of a whole cluster sends for itself, and whose replies it reads.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value as Wire};

use super::process::Process;
use super::script::By;
use super::spread::{Epoch, Step};
use super::wire::{bytes, refuse_errors};
use crate::error::{Cause, Error, Result};
use crate::key::Key;
use crate::request::Reply;

/// One command, and where its reply goes.
pub(super) struct Own {
    pub(super) command: Command,
    /// The slot that its keys are in. `None` if it has no keys.
    pub(super) slot: Option<u16>,
    /// The key of a value that it changes, which keeps its order among the store's calls.
    pub(super) key: Option<Box<Key>>,
    /// The only link over which it may be carried out.
    pub(super) bound: Option<Epoch>,
    /// The link and the ownership of the slot under which it was sent.
    pub(super) sent: Epoch,
    /// The process of the server that it was sent to.
    pub(super) process: Process,
    /// Whether it was sent, perhaps over a connection that was lost since.
    pub(super) was_sent: bool,
    /// Whether it may be sent again if its reply is lost.
    pub(super) is_repeatable: bool,
    pub(super) reply: Reply<Told>,
}

/// What is sent.
pub(super) enum Command {
    Plain(Cmd),
    Step(Arc<Step>),
}

/// The reply to a command, and the link that it came over.
pub(super) struct Told {
    /// `None` if the command was not carried out, because its link is gone.
    pub(super) reply: Option<Wire>,
    pub(super) epoch: Epoch,
    /// The process of the server that has answered.
    pub(super) process: Process,
}

/// Shows no command.
impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// Shows no reply.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Own {
    pub(super) fn command(&self, by: By) -> Cmd {
        match &self.command {
            Command::Plain(command) => command.clone(),
            Command::Step(step) => step.encode(by),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.command {
            Command::Plain(command) => bytes(command),
            Command::Step(step) => step.bytes(),
        }
    }

    /// The key whose value it answers, if it is the first read of a load.
    pub(super) fn read(&self) -> Option<&Key> {
        match &self.command {
            Command::Step(step) if matches!(**step, Step::Take { reads: true, .. }) => self.key.as_deref(),
            _ => None,
        }
    }

    /// It is to be sent to this process. Returns `false` if it may not be.
    pub(super) fn send_over(&mut self, process: Process) -> bool {
        let link = process.connection();
        self.process = process;
        self.sent = self.sent.over(link);
        self.bound.is_none_or(|bound| bound.link() == link)
    }

    /// It is for the owner of its slot of now. Returns `false` if it may not be carried out there.
    pub(super) fn send_to(&mut self, ownership: u32) -> bool {
        self.sent = Epoch::of(0, ownership);
        self.bound.is_none_or(|bound| bound.ownership() == ownership)
    }

    /// It is asked of the node that its slot is moving to, over no link of that node: what it answers proves nothing later.
    pub(super) fn send_elsewhere(&mut self) {
        self.sent = Epoch::default();
    }

    /// Whether it may be asked of the node that its slot is moving to. A step that is bound to a link may not. Nor may a look: a
    /// write has to be bound to the link of its look.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        let is_look = matches!(&self.command, Command::Step(step) if matches!(**step, Step::Look { .. }));
        self.slot.is_some() && self.bound.is_none() && !is_look
    }

    /// Takes in the reply.
    pub(super) fn settle(self, reply: Option<Wire>) {
        let (epoch, process) = (self.sent, self.process);
        let told = refuse_errors(reply.unwrap_or_default()).map(|reply| Told {
            reply: Some(reply),
            epoch,
            process,
        });
        self.reply.send(told);
    }

    /// It is not carried out: its link is gone.
    pub(super) fn void(self) {
        let (epoch, process) = (self.sent, self.process);
        self.reply.send(Ok(Told {
            reply: None,
            epoch,
            process,
        }));
    }

    /// There is no reply. What removes a value may have done so over a connection that was lost.
    pub(super) fn fail(self, error: Error) {
        let may_be_done = self.was_sent
            && matches!(&self.command, Command::Step(step) if matches!(**step, Step::Kill { .. }));
        let answer: Result<Told> = Err(if may_be_done {
            Error::OutcomeUnknown(Cause::new(error))
        } else {
            error
        });
        self.reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::engines::redis::batch::Batch;
    use crate::engines::redis::job::{Job, Task};
    use crate::engines::redis::layout::Layout;
    use crate::engines::redis::part::Part;
    use crate::request::Token;

    /// What removes a value, but has to wait behind another job of its key.
    #[test]
    fn what_was_never_sent_has_not_been_carried_out() {
        for is_sent in [false, true] {
            let process = Process::of_new_connection(None);
            let (reply, mut answer) = Reply::new();
            let mut own = Own {
                command: Command::Step(Arc::new(Step::Kill {
                    key: "k".into(),
                    stamp: Token::new(1, 2).into(),
                })),
                slot: Some(7),
                key: None,
                bound: None,
                sent: Epoch::default(),
                process: Process::default(),
                was_sent: false,
                is_repeatable: true,
                reply,
            };
            assert!(own.send_over(process));
            let mut job = Job::new(Task::Own(Box::new(own)), Instant::now());
            if is_sent {
                let mut batch = Batch::new(Layout::spread());
                batch.push(job, None, Instant::now());
                let Some(Part::Other { job: Some(sent), .. }) = batch.parts.pop() else {
                    panic!("it is sent");
                };
                job = sent;
            }
            let Task::Own(own) = job.task else {
                panic!("it is the same")
            };
            own.fail(Error::Unavailable(Cause::new("gone")));
            let answer = answer.try_recv().unwrap();
            let is_unknown = matches!(answer, Err(Error::OutcomeUnknown(_)));
            assert_eq!(is_unknown, is_sent);
        }
    }
}
