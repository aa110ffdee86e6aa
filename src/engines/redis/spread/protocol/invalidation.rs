//! Removes entries, and all that depends on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use compact_str::CompactString;
use tokio::time::Instant;

use super::Machine;
use super::answer::{Answer, Answered};
use super::stamp::{Stamp, Stamps};
use super::step::{Epoch, Member, Next, Step};

/// So many names are drained at a time. Each has one page of members under way.
const AT_A_TIME: usize = 16;
/// No root is killed while so many steps are under way.
const ROOTS_AT_A_TIME: usize = 256;
/// So often a name is drained: once for what was there at first, and once more where several names lead to it or it is in a
/// ring. An invalidation that drained more often could be kept busy by the writers that it refuses.
const PASSES: u8 = 2;

/// An invalidation. It remembers the names that it has found, and a page of members for each name that it drains.
///
/// A member without dependents is forgotten as soon as it is dead. One with dependents is forgotten when all is drained:
/// until then, another invalidation finds what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::engines::redis) struct Invalidation {
    stamps: Stamps,
    /// The names that were asked for and are not being killed yet.
    roots: Vec<CompactString>,
    removed: u64,
    /// Steps under way, of any kind.
    under_way: usize,
    /// The names that have been drained, or are to be.
    passes: BTreeMap<CompactString, Passes>,
    /// Names to be drained, in order.
    waiting: VecDeque<CompactString>,
    draining: BTreeMap<CompactString, Drain>,
    /// Members that are being killed, by the stamps of the kills, and the names that led to them.
    killed: BTreeMap<Stamp, (CompactString, Member)>,
    /// Registrations whose member has dependents: a name and the member.
    inner: BTreeMap<(CompactString, CompactString), Inner>,
    is_drained: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Passes {
    /// How often the name has been drained, or is to be.
    count: u8,
    /// Whether it waits.
    waits: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Inner {
    stamp: Stamp,
    epoch: Epoch,
}

/// A name that is being drained, and the page of its members that was read last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Drain {
    /// The link that the page came over.
    epoch: Epoch,
    /// Where the next page begins, 0 after the last.
    cursor: u64,
    /// How many members are being killed.
    killed: usize,
    /// Those that are dead and have nothing below.
    leaves: Vec<Member>,
}

impl Invalidation {
    /// `roots` are the names, each once.
    pub(in crate::engines::redis) fn new(roots: Vec<CompactString>, stamps: Stamps) -> Self {
        Self {
            stamps,
            roots,
            removed: 0,
            under_way: 0,
            passes: BTreeMap::new(),
            waiting: VecDeque::new(),
            draining: BTreeMap::new(),
            killed: BTreeMap::new(),
            inner: BTreeMap::new(),
            is_drained: false,
        }
    }

    /// Has a name drained, once more if that has begun already: what is below it may be new. Returns whether it will be.
    fn drain(&mut self, name: &CompactString) -> bool {
        let passes = self.passes.entry(name.clone()).or_default();
        if passes.waits {
            return true;
        }
        if passes.count == PASSES {
            return false;
        }
        passes.count += 1;
        passes.waits = true;
        self.waiting.push_back(name.clone());
        true
    }

    /// Scans names that wait, as many as may be drained at a time.
    fn begin(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..self.waiting.len() {
            if self.draining.len() >= AT_A_TIME {
                break;
            }
            let Some(name) = self.waiting.pop_front() else {
                break;
            };
            if self.draining.contains_key(&name) {
                self.waiting.push_back(name);
                continue;
            }
            if let Some(passes) = self.passes.get_mut(&name) {
                passes.waits = false;
            }
            self.draining.insert(name.clone(), Drain::default());
            steps.push(scan(name));
        }
        steps
    }

    /// Kills roots, as many as may be killed at a time.
    fn kill_roots(&mut self, under_way: usize) -> Vec<Step> {
        let room = ROOTS_AT_A_TIME.saturating_sub(under_way);
        let roots = self.roots.split_off(self.roots.len().saturating_sub(room));
        let stamps = &mut self.stamps;
        let kill = |key| Step::Kill {
            key,
            stamp: stamps.next(),
        };
        roots.into_iter().map(kill).collect()
    }

    fn read(&mut self, name: &CompactString, members: Vec<Member>, cursor: u64, epoch: Epoch) -> Vec<Step> {
        let mut keys = BTreeSet::new();
        let mut steps = Vec::new();
        for member in members {
            let place = (name.clone(), member.key.clone());
            // It was killed after this registration. What is below it has been found since, or will be.
            let is_known = self
                .inner
                .get(&place)
                .is_some_and(|inner| inner.stamp == member.stamp);
            // A member that was killed through another name may have been registered here since: each scan is followed by
            // kills of its own.
            if !is_known && keys.insert(member.key.clone()) {
                let (key, stamp) = (member.key.clone(), self.stamps.next());
                self.killed.insert(stamp, (name.clone(), member));
                steps.push(Step::Kill { key, stamp });
            }
        }
        let drain = Drain {
            epoch,
            cursor,
            killed: steps.len(),
            leaves: Vec::new(),
        };
        self.draining.insert(name.clone(), drain);
        if steps.is_empty() {
            return self.turn(name);
        }
        steps
    }

    fn killed(&mut self, key: &CompactString, stamp: Stamp, removed: bool, below: bool) -> Vec<Step> {
        self.removed += u64::from(removed);
        let is_drained = below && self.drain(key);
        let Some((name, member)) = self.killed.remove(&stamp) else {
            return Vec::new();
        };
        let Some(drain) = self.draining.get_mut(&name) else {
            return Vec::new();
        };
        let place = (name.clone(), key.clone());
        self.inner.remove(&place);
        if is_drained {
            let (stamp, epoch) = (member.stamp, drain.epoch);
            self.inner.insert(place, Inner { stamp, epoch });
        } else if !below {
            drain.leaves.push(member);
        }
        // Else the registration stays, and leads a later invalidation to what has come since.
        drain.killed -= 1;
        if drain.killed > 0 {
            return Vec::new();
        }
        self.turn(&name)
    }

    /// Turns to the next page of a name.
    fn turn(&mut self, name: &CompactString) -> Vec<Step> {
        let Some(drain) = self.draining.remove(name) else {
            return Vec::new();
        };
        let Drain {
            epoch,
            cursor,
            leaves,
            ..
        } = drain;
        let mut steps = Vec::new();
        let name = name.clone();
        if cursor != 0 {
            self.draining.insert(name.clone(), Drain::default());
        }
        if !leaves.is_empty() {
            steps.push(Step::Forget {
                name: name.clone(),
                members: leaves,
                epoch,
            });
        }
        if cursor != 0 {
            let epoch = Some(epoch);
            steps.push(Step::Scan { name, cursor, epoch });
        }
        steps
    }

    /// Forgets the members that had dependents.
    fn forget(&mut self) -> Vec<Step> {
        let mut names: BTreeMap<(CompactString, u64), Vec<Member>> = BTreeMap::new();
        for ((name, key), Inner { stamp, epoch }) in std::mem::take(&mut self.inner) {
            let members = names.entry((name, epoch.0)).or_default();
            members.push(Member { key, stamp });
        }
        let forget = |((name, epoch), members)| Step::Forget {
            name,
            members,
            epoch: Epoch(epoch),
        };
        names.into_iter().map(forget).collect()
    }

    fn send(&mut self, mut steps: Vec<Step>) -> Next<u64> {
        steps.extend(self.begin());
        steps.extend(self.kill_roots(self.under_way + steps.len()));
        if self.under_way + steps.len() == 0 && !self.is_drained {
            self.is_drained = true;
            steps = self.forget();
        }
        self.under_way += steps.len();
        if self.under_way == 0 {
            return Next::done(self.removed);
        }
        Next::Steps(steps)
    }
}

/// Reads the first page of a name.
fn scan(name: CompactString) -> Step {
    let (cursor, epoch) = (0, None);
    Step::Scan { name, cursor, epoch }
}

impl Machine for Invalidation {
    /// How many entries were removed.
    type Output = u64;

    fn start(&mut self, _: Instant) -> Next<u64> {
        self.send(Vec::new())
    }

    fn advance(&mut self, _: Instant, step: &Step, answered: Answered) -> Next<u64> {
        self.under_way -= 1;
        let steps = match (step, answered.answer) {
            (Step::Kill { key, stamp }, Answer::Killed { removed, below }) => {
                self.killed(key, *stamp, removed, below)
            }
            (Step::Scan { name, .. }, Answer::Page { members, cursor }) => {
                self.read(name, members, cursor, answered.epoch)
            }
            // A cursor means nothing to another server.
            (Step::Scan { name, .. }, Answer::Void) => vec![scan(name.clone())],
            _ => Vec::new(),
        };
        self.send(steps)
    }
}
