//! Requests to commands. Pure: a batch of jobs in, one pipeline out, with what is to be done with each
//! of its replies.

use std::fmt;

use redis::Pipeline;
use tokio::time::Instant;

use super::abilities::Abilities;
use super::exchange::{Commands, Way};
use super::fetch::{self, Fetch};
use super::gets::{self, Getter};
use super::job::{Job, Task};
use super::layout::Layout;
use super::lease::Invalidated;
use super::part::Part;
use super::process::Process;
use super::sets::{Sets, Setter};
use super::tracker::TrackedConnection;
use super::transaction::{self, Changes};
use super::wire::{ARGUMENT, FRAME};
use crate::key::Key;
use crate::request::{EntryRequest, Keys};

/// Requests that travel in one pipeline.
pub(super) struct Batch {
    /// What is sent, once the batch is finished.
    pub(super) pipeline: Pipeline,
    pub(super) parts: Vec<Part>,
    /// Keys of scripts among them, as [`Busy`] counts them.
    pub(super) busy: Vec<u64>,
    /// The neighbouring `GET`s that are being gathered.
    gets: Vec<Option<Getter>>,
    /// Those among them whose keys are to be fetched for the near cache.
    fetches: Vec<Option<Getter>>,
    /// The neighbouring `SET`s with dependencies that are being gathered.
    sets: Option<Sets>,
    /// The neighbouring changes that are being gathered in a transaction.
    changes: Option<Changes>,
    leases: Invalidated,
    /// All leases end first.
    ends_leases: bool,
    /// The epoch of the server that it is sent to; see [`Batch::in_epoch`].
    epoch: u64,
    /// The process of the server that it is sent to.
    process: Process,
    commands: Commands,
    /// Requests taken, those that write several entries counted by them.
    length: usize,
    values: usize,
}

/// Shows no command.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("parts", &self.parts)
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            pipeline: Pipeline::new(),
            parts: Vec::new(),
            busy: Vec::new(),
            gets: Vec::new(),
            fetches: Vec::new(),
            sets: None,
            changes: None,
            leases: Invalidated::default(),
            ends_leases: false,
            epoch: 0,
            process: Process::default(),
            commands: Commands::new(layout),
            length: 0,
            values: 0,
        }
    }

    /// Whether the replies are to tell what happened to each key.
    pub(super) fn telling(mut self, tells: bool) -> Self {
        self.commands.tells = tells;
        self
    }

    /// What the server that it is sent to lets its user do.
    pub(super) fn to(mut self, abilities: Abilities) -> Self {
        self.commands.abilities = abilities;
        self
    }

    /// How a job is sent in it.
    pub(super) fn way(&self, job: &Job) -> Way {
        if self.transacts(job) {
            Way::Plain
        } else {
            job.task.way(&self.commands.layout, self.commands.abilities)
        }
    }

    /// Whether a job is one of the changes of a transaction.
    fn transacts(&self, job: &Job) -> bool {
        let commands = &self.commands;
        commands.layout.is_in_a_slot() && commands.abilities.transacts && transaction::takes(job, commands)
    }

    /// Whether all leases on the server end before anything else.
    pub(super) fn ending_leases(mut self, ends: bool) -> Self {
        self.ends_leases = ends;
        self
    }

    /// Sets the epoch of the server that it is sent to. Another epoch begins when the server was restarted, or when another
    /// one becomes the primary, or the owner of the slot.
    pub(super) fn in_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Sets the process of the server that it is sent to. Long work begins anew in another one.
    pub(super) fn for_process(mut self, process: Process) -> Self {
        self.process = process;
        self
    }

    /// A batch that asks for a sign of life. In a cluster, a node that has lost the others answers a `PING`, and a former owner
    /// does. So it is asked for a key that it has to own.
    pub(super) fn ping(layout: Layout, owned: Option<&str>) -> Self {
        let mut batch = Self::new(layout);
        let owned = owned.filter(|_| batch.commands.layout.is_in_a_cluster());
        let command = owned.map_or_else(|| redis::cmd("PING"), redis::Cmd::exists);
        batch.commands.add(command);
        batch.parts.push(Part::Ping {
            names_key: owned.is_some(),
        });
        batch.finish(0);
        batch
    }

    /// Whether an answer may prove that the server would tell of changes to what was read from it. In a cluster, only the
    /// owner of a slot proves that, by a command that names a key.
    pub(super) fn is_proof(&self) -> bool {
        !self.commands.layout.is_in_a_cluster() || self.parts.iter().any(Part::names_key)
    }

    /// Requests taken, those that write several entries counted by them.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The keys that are read or written, and commands without keys.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// The bytes to send, or a few more.
    pub(super) fn bytes(&self) -> usize {
        self.commands.bytes + self.sets.as_ref().map_or(0, |sets| sets.bytes)
    }

    /// Ends the batch: it has its last command, and gets its first. So many bytes may still be before it on
    /// their way to the server.
    pub(super) fn finish(&mut self, before: usize) {
        self.end_gets();
        self.end_sets();
        self.end_changes();
        let commands = std::mem::take(&mut self.commands.sent);
        let (mut first, last) =
            std::mem::take(&mut self.leases).into_commands(before + self.bytes(), &self.commands.layout);
        if self.ends_leases && !self.parts.is_empty() {
            first = vec![redis::Cmd::unlink(self.commands.layout.leases())];
        }
        self.pipeline = Pipeline::with_capacity(first.len() + commands.len() + last.len());
        if !first.is_empty() {
            self.parts.insert(0, Part::Leases(first.len()));
        }
        if !last.is_empty() {
            self.parts.push(Part::Leases(last.len()));
        }
        for command in first.into_iter().chain(commands).chain(last) {
            self.pipeline.add_command(command);
        }
    }

    /// Adds a job. Keys that are worth it are fetched for the near cache, if this is sent over a tracked connection.
    pub(super) fn push(&mut self, mut job: Job, tracked: Option<&TrackedConnection>, now: Instant) {
        job.room = None;
        self.values += job.task.values();
        // Neighbours have keys in other slots.
        let is_spread = self.commands.layout.is_spread();
        self.commands.slot = if is_spread { job.task.slot() } else { None };
        let way = self.way(&job);
        match job.task {
            Task::Request(EntryRequest::Get(asked)) if !job.alone && !is_spread => {
                self.end_sets();
                self.end_changes();
                self.length += 1;
                self.commands.bytes += FRAME + 2 * ARGUMENT + asked.operation.key.as_str().len();
                let deadline = job.deadline;
                let is_fetched =
                    tracked.is_some_and(|tracked| tracked.begin_fetch(&asked.operation.key, now));
                let getter = Some(Getter { asked, deadline });
                return if is_fetched {
                    self.fetches.push(getter);
                } else {
                    self.gets.push(getter);
                };
            }
            Task::Request(EntryRequest::Set(asked)) if !is_spread && way == Way::Script => {
                self.end_gets();
                self.end_changes();
                let fits = |sets: &Sets| !job.alone && sets.fits(&asked, job.by);
                if self.sets.as_ref().is_some_and(|sets| !fits(sets)) {
                    self.end_sets();
                }
                self.length += 1;
                let deadline = job.deadline;
                let sets = self.sets.get_or_insert_with(|| Sets::new(job.by));
                sets.push(Setter { asked, deadline });
                if job.alone {
                    self.end_sets();
                }
                return;
            }
            task => job.task = task,
        }
        self.end_gets();
        self.end_sets();
        let is_gathered = self.transacts(&job);
        if !is_gathered
            || self
                .changes
                .as_ref()
                .is_some_and(|changes| changes.are_full(&self.commands))
        {
            self.end_changes();
        }
        if is_gathered && self.changes.is_none() {
            self.changes = Some(Changes::begin(&mut self.commands, &mut self.parts));
        }
        self.commands.by = job.by;
        let before = self.commands.sent.len();
        let fetch = tracked.and_then(|tracked| Fetch::begin(&job, tracked, now));
        let is_as_asked = fetch
            .as_ref()
            .is_none_or(|fetch| fetch.encode(&mut self.commands));
        let written = match &mut job.task {
            _ if !is_as_asked => 0,
            Task::Walk(walk) => {
                walk.enter(self.process);
                let command = walk.command(&self.commands.layout, job.by);
                self.commands.add(command);
                0
            }
            Task::Doubt(doubt) => {
                let commands = doubt.commands(job.alone);
                commands
                    .into_iter()
                    .for_each(|command| self.commands.add(command));
                0
            }
            Task::Own(own) => {
                own.was_sent = true;
                self.commands.add(own.command(job.by));
                0
            }
            Task::Request(request) => self.push_request(request, way),
        };
        let replies = self.commands.sent.len() - before;
        // One command for many writes is as much work for the server.
        self.length += replies.max(written);
        self.parts.push(Part::Other {
            job: Some(job),
            replies,
            fetch,
            left: None,
        });
    }

    /// Adds the commands of a request. Returns how many entries it writes.
    fn push_request(&mut self, request: &mut EntryRequest, way: Way) -> usize {
        if let EntryRequest::Scan(asked) = request {
            asked.operation.cursor.enter(self.epoch);
        }
        let plain_change = request.changes_plainly(&self.commands.layout, self.commands.abilities);
        if plain_change {
            let (leases, commands) = (&mut self.leases, &mut self.commands);
            request
                .keys()
                .for_each(|key| commands.bytes += leases.add(key, &commands.layout));
        }
        let scripts = self.commands.scripts;
        match &mut self.changes {
            Some(changes) => changes.push(request, &mut self.commands),
            None => request.encode(&mut self.commands),
        }
        debug_assert_eq!(
            self.commands.scripts > scripts,
            way != Way::Plain,
            "{request:?} travels as it says"
        );
        let written = match request.keys() {
            Keys::Written(writes) => writes.len(),
            _ => 0,
        };
        if plain_change {
            // These are never sent again.
            request.drop_values();
        }
        written
    }

    fn end_sets(&mut self) {
        if let Some(sets) = self.sets.take() {
            sets.encode(&mut self.commands);
            self.parts.push(Part::Sets(sets));
        }
    }

    fn end_changes(&mut self) {
        if let Some(changes) = self.changes.take() {
            changes.end(&mut self.commands, &mut self.parts);
        }
    }

    fn end_gets(&mut self) {
        let gets = std::mem::take(&mut self.gets);
        if !gets.is_empty() {
            self.commands.sent.push(gets::command(&gets));
            self.parts.push(Part::Gets(gets));
        }
        let fetches = std::mem::take(&mut self.fetches);
        if !fetches.is_empty() {
            let keys: Vec<Key> = fetches
                .iter()
                .flatten()
                .map(|getter| getter.asked.operation.key.clone())
                .collect();
            fetch::encode(&keys, &mut self.commands);
            self.parts.push(Part::Fetches(keys, fetches));
        }
    }
}
