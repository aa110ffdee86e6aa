//! What the coordinator does with what it is asked and answered.

use super::super::direct::{DirectLoad, Met};
use super::effects::hand;
use super::*;

impl Coordinator {
    pub(super) fn begin(&mut self, command: Command) {
        let Command {
            load,
            wanted,
            callers,
            work,
        } = command;
        let direct = self.ends.direct.running();
        let waiting = self.callers.len() + self.ends.direct.waiting() + callers.len();
        // Who joins is no load more, nor is who waits for another process.
        let is_known = |key| self.flights.knows(key) || self.ends.direct.knows(key);
        let full = self.flights.under_way() + direct >= self.bounds.loads
            && !wanted.iter().all(|wanted| is_known(&wanted.key));
        if full || waiting > self.bounds.callers {
            hand(work.unused, work.loader);
            let busy = Error::Unavailable(Cause::new(TooMany));
            for caller in callers {
                hand(caller, Answer::Failed(Failure::Store(busy.clone())));
            }
            return;
        }
        let Work {
            names,
            timeout,
            retry_after,
            loader,
            unused,
        } = work;
        let ids = wanted.iter().filter_map(|wanted| wanted.caller);
        let span = loader.span_of_call();
        let tie = if callers.is_empty() {
            Tie::Refresh
        } else {
            Tie::Awaited
        };
        let callers = callers.into_iter().map(|answer| Caller {
            answer,
            span: span.clone(),
        });
        self.callers.extend(ids.zip(callers));
        let has_contexts = loader.has_contexts;
        let terms = Terms {
            names: names.to_vec(),
            retry_after,
            has_contexts,
        };
        self.loads.insert(
            load,
            Load {
                names,
                timeout,
                has_contexts,
                held: Map::default(),
                loader: Some(loader),
                unused: Some(unused),
                tie,
                link: LoadLink::default(),
                joined: Vec::new(),
                made: Map::default(),
                failure: None,
            },
        );
        self.change(|flights, now, effects| flights.begin(load, terms, wanted, now, effects));
    }

    /// Takes note of a notice.
    pub(super) fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Left {
                key,
                caller,
                load_goes_on,
            } => {
                self.callers.remove(&caller);
                self.change(|flights, _, effects| {
                    if load_goes_on {
                        flights.overdue(&key, caller);
                    } else {
                        flights.left(&key, caller, effects);
                    }
                });
            }
            Notice::Abandoned { load, key, names } => self.end_lease(load, key, names, Given::No),
            Notice::Succeeded(key) => self.change(|flights, _, effects| flights.succeeded(&key, effects)),
            Notice::Landed(landed) => self.landed(*landed),
            Notice::GivenOut { keys, noted } => {
                for key in &keys {
                    self.change(|flights, _, effects| flights.given_out(key, effects));
                }
                // The caller may have gone.
                let _ = noted.send(());
            }
        }
    }

    /// Goes on with a direct load that has ended as with one of its own.
    fn landed(&mut self, landed: Landed) {
        let Landed {
            load, key, caller, ..
        } = landed;
        let (marks, has_contexts) = self.ends.direct.remove(load, &key);
        let terms = Terms {
            names: landed.names.to_vec(),
            retry_after: landed.retry_after,
            has_contexts,
        };
        self.adopt(load, &key, landed.names, LoadLink::default(), terms, marks);
        // A load and a caller never have the same number.
        let caller = Caller {
            answer: caller,
            span: None,
        };
        self.callers.insert(load, caller);
        self.flights.embark(load, &key, load);
        match (landed.made, landed.fate) {
            (Ok(made), Some(fate)) => {
                let late = made.has_late_names();
                if let Some(load) = self.loads.get_mut(&load) {
                    load.made.insert(key.clone(), made);
                }
                self.change(|flights, now, effects| {
                    flights.succeeded(&key, effects);
                    flights.stored(load, &key, fate, late, now, effects);
                });
            }
            (made, _) => self.loaded(load, made.map(|made| vec![(key, made)])),
        }
    }

    /// Makes a direct load known to the flights, so that callers can wait for it.
    fn adopt(&mut self, load: LoadId, key: &Key, names: Names, link: LoadLink, terms: Terms, marks: Marks) {
        if self.loads.contains_key(&load) {
            return;
        }
        let has_contexts = terms.has_contexts;
        self.flights.adopt(load, key, terms, marks);
        self.loads.insert(
            load,
            Load {
                names,
                timeout: Duration::ZERO,
                has_contexts,
                held: Map::default(),
                loader: None,
                unused: None,
                tie: Tie::Awaited,
                link,
                joined: Vec::new(),
                made: Map::default(),
                failure: None,
            },
        );
    }

    pub(super) fn lease_answered(&mut self, asking: LoadId, key: &Key, answer: Result<LeaseAnswer>) {
        let answer = match answer {
            Ok(LeaseAnswer::Taken { present }) => {
                let needed = calls_for_load(self.flights.seen(key), present.as_ref());
                if let Some(load) = self.loads.get_mut(&asking)
                    && load.has_contexts
                    && let Some(present) = present
                {
                    load.held.insert(key.clone(), present);
                }
                flight::Answer::Taken { needed }
            }
            Ok(LeaseAnswer::Held { token, remaining }) => match self.ends.direct.load_of(token) {
                Some(load) if self.loads.contains_key(&load) => flight::Answer::HeldHere(load),
                Some(load) => match self.ends.direct.meet(load, key) {
                    Met::Running { load: direct, marks } => {
                        let terms = Terms {
                            names: direct.names.to_vec(),
                            retry_after: direct.retry_after,
                            has_contexts: direct.has_contexts,
                        };
                        self.adopt(load, key, direct.names, direct.link, terms, marks);
                        flight::Answer::HeldHere(load)
                    }
                    Met::Revoked(DirectLoad { names, .. }) => {
                        self.end_lease(load, key.clone(), names, Given::No);
                        return self.take(asking, key.clone());
                    }
                    // The flights do not know it any more either.
                    Met::Ended => {
                        self.meet_ended(load, key);
                        flight::Answer::HeldHere(load)
                    }
                },
                None => flight::Answer::HeldAbroad(remaining),
            },
            Ok(LeaseAnswer::Stored(_) | LeaseAnswer::Ended) => {
                flight::Answer::Failed(Error::Unavailable(Cause::new(Unexpected)))
            }
            Err(error) => flight::Answer::Failed(error),
        };
        self.change(|flights, now, effects| flights.answered(key, answer, now, effects));
    }

    /// Ends the lease of a load that has ended, if the engine names it a second time: the engine has failed to end it. The
    /// first time, its end was on its way.
    fn meet_ended(&mut self, load: LoadId, key: &Key) {
        if self.strays.len() >= STRAYS {
            self.strays.clear();
        }
        if self.strays.insert(key.clone(), load) == Some(load) {
            self.strays.remove(key);
            // What it made may have been given out.
            self.end_lease(load, key.clone(), Names::default(), Given::Yes);
        }
    }

    pub(super) fn store_answered(&mut self, load: LoadId, key: &Key, answer: Result<LeaseAnswer>) {
        let fate = match answer {
            Ok(LeaseAnswer::Stored(true)) => Fate::Stored,
            Ok(_) => {
                count(&self.ends.counters.dead_leases);
                Fate::Superseded
            }
            Err(error) => {
                tracing::debug!(?key, %error, "a loaded value could not be stored");
                Fate::NotStored
            }
        };
        let made = self.loads.get(&load).and_then(|load| load.made.get(key));
        let late = made.is_some_and(Made::has_late_names);
        self.change(|flights, now, effects| flights.stored(load, key, fate, late, now, effects));
    }

    pub(super) fn loaded(&mut self, id: LoadId, made: std::result::Result<Vec<(Key, Made)>, Failure>) {
        let Some(load) = self.loads.get_mut(&id) else {
            return;
        };
        match made {
            Ok(made) => {
                load.made = made.into_iter().collect();
                let is_unreadable = |(key, made): &(&Key, &Made)| {
                    let unreadable = made.form != Form::Stored;
                    if unreadable {
                        tracing::warn!(
                            ?key,
                            "a loaded value does not decode again: it is given out and not stored"
                        );
                    }
                    unreadable
                };
                let unreadable = load.made.iter().filter(is_unreadable).count();
                self.ends
                    .counters
                    .unreadable
                    .fetch_add(unreadable as u64, Ordering::Relaxed);
                let product = |made: &Made| Product {
                    stored: made.stored,
                    kept: made.kept,
                    late: made.has_late_names(),
                };
                let products: Map<Key, Product> = load
                    .made
                    .iter()
                    .map(|(key, made)| (key.clone(), product(made)))
                    .collect();
                self.change(|flights, now, effects| {
                    flights.loaded(id, |key| products.get(key).copied(), now, effects);
                });
            }
            Err(failure) => {
                count(&self.ends.counters.failures);
                load.failure = Some(failure);
                self.change(|flights, now, effects| flights.failed(id, now, effects));
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many loads are under way, or too many wait for them: see max_loads and max_load_waiters")]
struct TooMany;

#[derive(Debug, thiserror::Error)]
#[error("the engine's answer is not to what it was asked")]
struct Unexpected;
